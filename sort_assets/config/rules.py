"""The rules file in the recordings root and the sidecars beside recordings: how each recording is to be treated.

Rules are matched, as the patterns of a ``.gitignore``, against a recording's path relative to the recordings root. All
that match apply in their order, later ones win key by key; then the nearest sidecar applies.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sort_assets.config.layers import ConfigLayer, ResolvedConfig, resolve_config
from sort_assets.config.patterns import PathPatterns, as_folder
from sort_assets.config.rules_schema import (
    CONFIG_SECTIONS,
    Arrival,
    DeclaredSettings,
    RulesForm,
    SidecarForm,
    read_form,
)
from sort_assets.config.section import Section
from sort_assets.config.session_facts import SessionFacts, SubjectFacts
from sort_assets.config.yaml_lines import MAX_BYTES
from sort_assets.errors import OutsideRecordingsRootError, RulesError

RULES_FILE = "sort_assets.yaml"
SIDECAR_SUFFIX = f".{RULES_FILE}"

_Merged = TypeVar("_Merged", bound=Section)


@dataclass(frozen=True)
class RecordingSettings:
    """What the rules and the sidecar say of one recording.

    Attributes
    ----------
    layers : tuple of ConfigLayer
        Of the matching rules in order, then of the sidecar.
    ignore : bool
        The recording is left alone.
    sort : bool
        Its sort is started; otherwise it is registered only, and a person starts it.
    concatenate : bool
        The folder's files are one recording.
    streams : tuple of str or None
        `fnmatch` patterns of the streams to take; None takes all.
    arrival : Arrival
        When it counts as complete.
    session, subject : SessionFacts, SubjectFacts
        For NWB, merged field by field.
    sources : tuple of str
        Which rules and sidecar applied.
    ignored_by : str or None
        Which of them said that it is left alone.
    """

    layers: tuple[ConfigLayer, ...] = ()
    ignore: bool = False
    sort: bool = True
    concatenate: bool = False
    streams: tuple[str, ...] | None = None
    arrival: Arrival = field(default_factory=Arrival)
    session: SessionFacts = field(default_factory=SessionFacts)
    subject: SubjectFacts = field(default_factory=SubjectFacts)
    sources: tuple[str, ...] = ()
    ignored_by: str | None = None

    def resolve(self, default_preset: str, further: Iterable[ConfigLayer] = ()) -> ResolvedConfig:
        """The configuration from a preset, these layers, and further ones on top.

        Raises
        ------
        ConfigError
            As `resolve_config` does.
        """
        return resolve_config(default_preset, (*self.layers, *further))


@dataclass(frozen=True)
class Sidecar:
    """What one file says about the recordings it applies to, checked; also the body of a rule.

    Attributes
    ----------
    source : str
        Shown to people: "sort_assets.yaml, line 12", "mouse1/day2.nwb.sort_assets.yaml".
    statements : DeclaredSettings
        Only what was said is set.
    overrides : Mapping[str, Any]
        Nested like `SortingPipelineConfig`.
    """

    source: str
    statements: DeclaredSettings
    overrides: Mapping[str, Any]

    @property
    def describes_binary(self) -> bool | None:
        """Whether it says how a plain binary file is laid out; None when it says nothing about that."""
        recording = self.overrides.get("recording", {})
        return bool(recording["binary"]) if "binary" in recording else None

    @property
    def names_reader(self) -> str | None:
        """The reader that it says opens the recording; "" where it says that none does, None when it says nothing."""
        recording = self.overrides.get("recording", {})
        return str(recording["reader"] or "") if "reader" in recording else None


@dataclass(frozen=True)
class _Rule:
    patterns: PathPatterns
    body: Sidecar


class Rules:
    """A rules file without mistakes.

    Parameters
    ----------
    rules : iterable of _Rule
        In the file's order.
    arrival : Arrival
        For all recordings of which no rule says otherwise.
    """

    def __init__(self, rules: Iterable[_Rule] = (), arrival: Arrival | None = None) -> None:
        self._rules = tuple(rules)
        self._start = RecordingSettings(arrival=arrival or Arrival())
        last_first = self._rules[::-1]
        self._about_ignore = tuple(rule for rule in self._rules if rule.body.statements.ignore is not None)
        self._about_concatenate = tuple(rule for rule in last_first if rule.body.statements.concatenate is not None)
        self._about_binary = tuple(rule for rule in last_first if rule.body.describes_binary is not None)
        self._about_reader = tuple(rule for rule in last_first if rule.body.names_reader is not None)
        self._settings: dict[tuple[int, ...], RecordingSettings] = {}

    @classmethod
    def empty(cls) -> "Rules":
        """No rules: everything is taken, with the defaults."""
        return cls()

    def for_path(self, relative: str, sidecar: Sidecar | None = None) -> RecordingSettings:
        """What applies to a recording.

        Parameters
        ----------
        relative : str
            Its path relative to the recordings root, with ``/``.
        sidecar : Sidecar or None
            The nearest one.
        """
        path = as_folder(relative)
        matching = tuple(index for index, rule in enumerate(self._rules) if rule.patterns.match(path))
        settings = self._settings.get(matching)
        if settings is None:
            settings = self._start
            for index in matching:
                settings = _apply(settings, self._rules[index].body)
            self._settings[matching] = settings
        return settings if sidecar is None else _apply(settings, sidecar)

    def ignores_folder(self, relative: str, sidecar: Sidecar | None = None) -> bool:
        """Whether a folder and everything in it is to be left alone, so that it need not be looked into.

        False for a folder in which some path may be wanted again, by a pattern with ``!`` or by a later rule.

        Parameters
        ----------
        relative : str
            The folder's path relative to the recordings root.
        sidecar : Sidecar or None
            The one beside the folder, or the nearest above it.
        """
        if sidecar is not None and sidecar.statements.ignore is not None:
            return sidecar.statements.ignore
        path, ignored = as_folder(relative), False
        for rule in self._about_ignore:
            if not rule.body.statements.ignore:
                ignored = False
            elif not rule.patterns.excludes and rule.patterns.match(path):
                ignored = True
        return ignored

    def concatenates(self, relative: str, sidecar: Sidecar | None = None, *, default: bool = False) -> bool:
        """Whether a folder is declared to be one recording, made of the files in it; `default` where nothing is."""
        if sidecar is not None and sidecar.statements.concatenate is not None:
            return sidecar.statements.concatenate
        path = as_folder(relative)
        said = (rule.body.statements.concatenate for rule in self._about_concatenate if rule.patterns.match(path))
        return bool(next(said, default))

    def describes_binary(self, relative: str, sidecar: Sidecar | None = None) -> bool:
        """Whether something says how a plain binary file at this path is laid out."""
        if sidecar is not None and sidecar.describes_binary is not None:
            return sidecar.describes_binary
        path = as_folder(relative)
        said = (rule.body.describes_binary for rule in self._about_binary if rule.patterns.match(path))
        return bool(next(said, False))

    def names_reader(self, relative: str, sidecar: Sidecar | None = None) -> str:
        """The reader of SpikeInterface that something says opens what is at this path; "" where nothing does."""
        if sidecar is not None and sidecar.names_reader is not None:
            return sidecar.names_reader
        if not self._about_reader:
            return ""
        path = as_folder(relative)
        said = (rule.body.names_reader for rule in self._about_reader if rule.patterns.match(path))
        return next(said, None) or ""


def parse_rules(text: str | bytes, source: str) -> Rules:
    """Read a rules file.

    Parameters
    ----------
    text : str or bytes
        The content; an empty one holds no rules.
    source : str
        Names the file in messages and as the source of settings.

    Raises
    ------
    RulesError
        With all mistakes, each with its line and column.
    """
    form, located = read_form(text, source, RulesForm)
    values = (located.value or {}).get("rules") or ()
    rules = []
    for index, (rule, plain) in enumerate(zip(form.rules or (), values, strict=True)):
        line = located.position(("rules", index)).line
        rules.append(_Rule(PathPatterns(rule.match), _statements(rule, plain, f"{source}, line {line}")))
    return Rules(rules, _merged(Arrival(), form.arrival))


def parse_sidecar(text: str | bytes, source: str) -> Sidecar:
    """Read a sidecar: the keys of a rule, without `match`.

    Raises
    ------
    RulesError
        With all mistakes, each with its line and column.
    """
    form, located = read_form(text, source, SidecarForm)
    return _statements(form, located.value or {}, source)


def sidecar_names(relative: str) -> tuple[str, ...]:
    """Where a recording's sidecar may lie, nearest first: beside it, or beside one of the folders above it.

    Parameters
    ----------
    relative : str
        The recording's path relative to the recordings root.

    Returns
    -------
    tuple of str
        Paths relative to the recordings root. The first that exists alone counts.
    """
    path = PurePosixPath(relative)
    return tuple(f"{above}{SIDECAR_SUFFIX}" for above in (path, *path.parents) if above.name)


def find_sidecar(path: Path, root: Path) -> Path | None:
    """The sidecar of a recording, or None.

    Parameters
    ----------
    path : Path
        The recording, below `root`.
    root : Path
        The recordings root.

    Raises
    ------
    OutsideRecordingsRootError
        When the sidecar is, or lies behind, a symbolic link out of the root.
    """
    for name in sidecar_names(_below(root, path)):
        candidate = root / name
        if candidate.is_file():
            _refuse_outside(candidate, root)
            return candidate
    return None


def read_sidecar(path: Path, root: Path) -> Sidecar:
    """Read a sidecar; its path relative to the recordings root names it.

    Raises
    ------
    RulesError
        When it can't be read, or has mistakes.
    OutsideRecordingsRootError
        When it is, or lies behind, a symbolic link out of the root.
    """
    _refuse_outside(path, root)
    return parse_sidecar(rules_content(path), _below(root, path))


def rules_content(path: Path) -> bytes:
    """What stands in a rules file or sidecar, up to what is more than may stand there; nothing where there is none.

    Raises
    ------
    RulesError
        When it is there and can't be read.
    """
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RulesError(
            f"'{path}' can't be read: {error.strerror}.",
            remedy="Give the user who runs Dagster the right to read it, and check that the disk or share is there.",
            path=os.fspath(path),
        ) from error


def _statements(form: DeclaredSettings, plain: Mapping[str, Any], source: str) -> Sidecar:
    return Sidecar(source, form, {name: plain[name] for name in CONFIG_SECTIONS if plain.get(name)})


def _apply(settings: RecordingSettings, said: Sidecar) -> RecordingSettings:
    statements = said.statements
    layer = ConfigLayer(said.source, said.overrides, statements.preset)
    return RecordingSettings(
        layers=(*settings.layers, layer) if layer.overrides or layer.preset else settings.layers,
        ignore=settings.ignore if statements.ignore is None else statements.ignore,
        sort=settings.sort if statements.sort is None else statements.sort,
        concatenate=settings.concatenate if statements.concatenate is None else statements.concatenate,
        streams=statements.streams if "streams" in statements.model_fields_set else settings.streams,
        arrival=_merged(settings.arrival, getattr(statements, "arrival", None)),
        session=_merged(settings.session, statements.session),
        subject=_merged(settings.subject, statements.subject),
        sources=(*settings.sources, said.source),
        ignored_by=settings.ignored_by if statements.ignore is None else said.source if statements.ignore else None,
    )


def _merged(lower: _Merged, upper: Section | None) -> _Merged:
    """The lower values, with those that the upper ones state in their place."""
    if upper is None:
        return lower
    return lower.model_copy(update={name: getattr(upper, name) for name in upper.model_fields_set})


def _below(root: Path, path: Path) -> str:
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    _refuse_outside(path, root)
    return path.resolve().relative_to(root.resolve()).as_posix()


def _refuse_outside(path: Path, root: Path) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        raise OutsideRecordingsRootError(
            f"The sidecar '{path}' lies, or leads by a symbolic link, outside the recordings root '{root}'.",
            remedy="Put the sidecar itself beside the recording, below the recordings root.",
            path=os.fspath(path),
        )
