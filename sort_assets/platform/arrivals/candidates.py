"""Finding what may be a recording below a folder, by names alone: no file is opened.

The walk has a fixed order, so that a scan that ran out of time can continue where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, overload

from sort_assets.config.rules import RULES_FILE, SIDECAR_SUFFIX
from sort_assets.errors import (
    OutsideRecordingsRootError,
    RulesError,
    SortAssetsError,
    StorageError,
)
from sort_assets.platform.arrivals.stamps import MAX_DEPTH, PARTIAL, file_stamp, folder_stamp, list_folder, too_deep
from sort_assets.recordings.formats.chosen_reader import takes_folder
from sort_assets.recordings.formats.intan_parts import are_parts
from sort_assets.recordings.formats.plain_binary import may_be_plain_binary
from sort_assets.recordings.formats.reading import not_allowed
from sort_assets.recordings.formats.table import may_be_file, may_be_folder

Position = tuple[str, ...]
"""The parts of a path relative to the root; compared part by part, they are in the order of the walk."""

_CHECKPOINT_EVERY = 1000
"""Number of entries of a folder after which the walk yields a checkpoint."""

_END = "\U0010ffff" * 64
"""Sorts after every name: no name has its 256 bytes (NAME_MAX is 255)."""


class Candidate(NamedTuple):
    """A file or folder that may be a recording; a tuple, since a scan makes tens of thousands.

    Attributes
    ----------
    position : tuple of str
        The parts of its path relative to the root.
    location : str
        The whole path, as text: most candidates are known, and making a `Path` of each takes time.
    stamp : str
        Sizes and times of its files: as long as they stay the same, nobody has written to them.
    complete : bool
        Whether no part of it has the name of a partial copy.
    sidecar : Path or None
        The sidecar that describes it, its own or that of the nearest folder above it.
    sidecar_stamp : str
        Changes when the sidecar does.
    is_folder : bool
        Whether it is a folder.
    """

    position: Position
    location: str
    stamp: str
    complete: bool
    sidecar: Path | None
    sidecar_stamp: str
    is_folder: bool

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.location)

    @property
    def relative(self) -> str:
        """The path relative to the root, with ``/``."""
        return "/".join(self.position)


@dataclass(frozen=True)
class Refusal:
    """A file or folder that is not searched, and why."""

    position: Position
    problem: SortAssetsError

    @property
    def relative(self) -> str:
        """The path relative to the root, with ``/``."""
        return "/".join(self.position)


@dataclass(frozen=True)
class Checkpoint:
    """How far the walk has come: a file or folder is done, with everything in it.

    Attributes
    ----------
    position : tuple of str
        Sorts after everything in the folder and before what comes next.
    """

    position: Position

    @property
    def relative(self) -> str:
        """The path of the file or folder relative to the root, with ``/``."""
        return "/".join(self.position[:-1])


class WalkRules(Protocol):
    """What the walk needs to know of rules and sidecars.

    `relative` is a path relative to the root, `sidecar` the nearest one. All may raise `SortAssetsError`.
    """

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        """Whether nothing in this folder is a recording."""

    def concatenates(self, relative: str, sidecar: Path | None, *, default: bool) -> bool:
        """Whether the folder is one recording, its files concatenated; `default` where nobody says so."""

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        """Whether the file is a plain binary that is described."""

    def names_reader(self, relative: str, sidecar: Path | None) -> str:
        """The reader of SpikeInterface that is said to open the file or folder; "" for none."""


@dataclass(frozen=True)
class _Sidecar:
    path: Path | None = None
    stamp: str = ""


@overload
def find_candidates(
    root: Path,
    rules: WalkRules,
    *,
    after: Position = (),
    leave_out: Callable[[Candidate], bool] | None = None,
    with_checkpoints: Literal[False] = False,
) -> Iterator[Candidate | Refusal]: ...


@overload
def find_candidates(
    root: Path,
    rules: WalkRules,
    *,
    after: Position = (),
    leave_out: Callable[[Candidate], bool] | None = None,
    with_checkpoints: Literal[True],
) -> Iterator[Candidate | Refusal | Checkpoint]: ...


def find_candidates(
    root: Path,
    rules: WalkRules,
    *,
    after: Position = (),
    leave_out: Callable[[Candidate], bool] | None = None,
    with_checkpoints: bool = False,
) -> Iterator[Candidate | Refusal | Checkpoint]:
    """Everything below a folder that may be a recording, in a fixed order.

    Symbolic links are not followed: what a link inside the root leads to is found where it is, and a link that leads
    outside is refused. Hidden files and partial copies are skipped. A folder that is a recording is not
    searched for others. What can't be examined is refused, and so is a folder more than 64 levels deep; the walk
    continues.

    Parameters
    ----------
    root : Path
        The recordings root.
    rules : WalkRules
    after : tuple of str
        The position at which an earlier walk stopped; what comes before, and that itself, is left out. When it is
        inside a folder that is refused now, the refusal comes all the same, since it hides what comes after.
    leave_out : callable or None
        ``leave_out(candidate) -> bool``: whether not to yield a candidate.
    with_checkpoints : bool
        Whether to yield also how far the walk has come: at the end of each folder that is no recording, after each
        refusal, and at least every 1000 entries of a folder. A caller that stops only at checkpoints and candidates
        gets the refusal of a folder in the same walk as the position of everything in it.

    Raises
    ------
    StorageError
        When the root itself can't be listed.
    """
    try:
        entries = list_folder(root)
    except OSError as error:
        raise StorageError(
            f"The recordings root '{root}' can't be listed: {error.strerror}.",
            remedy="Check SORT_ASSETS_RECORDINGS, and that the disk or share is mounted and readable.",
        ) from error
    for found in _Walk(root.resolve(), rules, after, leave_out).through((), entries, _Sidecar()):
        if with_checkpoints or not isinstance(found, Checkpoint):
            yield found


@dataclass(frozen=True)
class _Walk:
    root: Path
    rules: WalkRules
    after: Position
    leave_out: Callable[[Candidate], bool] | None

    def through(
        self, folder: Position, entries: list[os.DirEntry[str]], inherited: _Sidecar
    ) -> Iterator[Candidate | Refusal | Checkpoint]:
        sidecars = {entry.name: entry for entry in entries if entry.name.endswith(SIDECAR_SUFFIX)}
        names = {entry.name for entry in entries}
        after, leave_out = self.after, self.leave_out
        for number, entry in enumerate(entries, start=1):
            name = entry.name
            position = (*folder, name)
            if after and (*position, _END) <= after:
                continue
            if not (name.startswith(".") or name in sidecars or name == RULES_FILE):
                own = sidecars.get(f"{name}{SIDECAR_SUFFIX}") if sidecars else None
                found = self._examine(position, entry, names, own, inherited)
                if isinstance(found, Candidate):
                    if leave_out is None or not leave_out(found):
                        yield found
                elif isinstance(found, Refusal):
                    if position != after:
                        yield found
                    yield Checkpoint((*position, _END))
                elif found is not None:
                    yield from self.through(position, *found)
                    yield Checkpoint((*position, _END))
            if number % _CHECKPOINT_EVERY == 0:
                yield Checkpoint((*position, _END))

    def _examine(
        self,
        position: Position,
        entry: os.DirEntry[str],
        beside: Set[str],
        own: os.DirEntry[str] | None,
        inherited: _Sidecar,
    ) -> Candidate | Refusal | tuple[list[os.DirEntry[str]], _Sidecar] | None:
        """What a file, folder or link is; of a folder that is to be searched, its entries and their sidecar."""
        try:
            if entry.is_symlink():
                _refuse_link_outside(self.root, entry)
            elif entry.is_dir(follow_symlinks=False):
                if not PARTIAL.search(entry.name):
                    return self._folder(position, entry, own, inherited)
            elif position > self.after:
                return self._file(position, entry, beside, own, inherited)
        except SortAssetsError as error:
            return Refusal(position, error)
        except FileNotFoundError:
            return None  # removed during the walk
        except (OSError, ValueError) as error:
            return Refusal(position, not_allowed(Path(entry.path), _with_reason(error)))
        return None

    def _folder(
        self, position: Position, entry: os.DirEntry[str], own: os.DirEntry[str] | None, inherited: _Sidecar
    ) -> Candidate | tuple[list[os.DirEntry[str]], _Sidecar] | None:
        """The candidate that a folder is, or its entries and their sidecar to search it; None when it is ignored."""
        relative, path = "/".join(position), Path(entry.path)
        sidecar = _sidecar(own) if own else inherited
        if self.rules.ignores_folder(relative, sidecar.path):
            return None
        if len(position) > MAX_DEPTH:
            raise too_deep(path)
        entries = list_folder(path)
        names = {inner.name for inner in entries}
        reader = self._reader_of(relative, sidecar.path, is_own=own is not None)
        whole = may_be_folder(entry.name, names) or takes_folder(reader)
        if not whole and not self.rules.concatenates(relative, sidecar.path, default=are_parts(entry.name, names)):
            return entries, sidecar
        if position <= self.after:
            return None
        stamp, complete = folder_stamp(path)
        return Candidate(position, entry.path, stamp, complete, sidecar.path, sidecar.stamp, True)

    def _file(
        self,
        position: Position,
        entry: os.DirEntry[str],
        beside: Set[str],
        own: os.DirEntry[str] | None,
        inherited: _Sidecar,
    ) -> Candidate | None:
        sidecar = _sidecar(own) if own else inherited
        known = may_be_file(entry.name, beside)
        if not known:
            reader = self._reader_of("/".join(position), sidecar.path, is_own=own is not None)
            known = bool(reader) and not takes_folder(reader)
        if not (known or may_be_plain_binary(entry.name)) or PARTIAL.search(entry.name):
            return None
        if not known and not self.rules.describes_binary("/".join(position), sidecar.path):
            return None
        if not entry.is_file(follow_symlinks=False):
            return None  # a pipe or a device, which would hold whoever opens it
        stamp = file_stamp(entry.stat(follow_symlinks=False))
        return Candidate(position, entry.path, stamp, True, sidecar.path, sidecar.stamp, False)

    def _reader_of(self, relative: str, sidecar: Path | None, *, is_own: bool) -> str:
        try:
            return self.rules.names_reader(relative, sidecar)
        except SortAssetsError:
            if is_own:
                raise
            return ""  # the mistakes of a folder's sidecar are told of the recordings in it, not of every file


def _sidecar(entry: os.DirEntry[str]) -> _Sidecar:
    try:
        return _Sidecar(Path(entry.path), f"{entry.path}:{file_stamp(entry.stat())}")
    except (OSError, ValueError) as error:
        raise RulesError(
            f"'{entry.path}' can't be read: {_with_reason(error).strerror}.",
            remedy="If it is a link, let it lead to a file that the user who runs sort_assets may read, or remove it.",
            path=entry.path,
        ) from error


def _with_reason(error: OSError | ValueError) -> OSError:
    """The error, or one that has its text as the operating system's."""
    return error if isinstance(error, OSError) and error.strerror else OSError(0, str(error) or type(error).__name__)


def _refuse_link_outside(root: Path, entry: os.DirEntry[str]) -> None:
    """Raise `OutsideRecordingsRootError` for a link out of the root to what may be a recording or hold some."""
    try:
        target = Path(entry.path).resolve()
    except RuntimeError:  # a loop of links
        return
    if target.is_relative_to(root):
        return
    names = (entry.name, target.name)
    if any(may_be_plain_binary(name) or may_be_file(name, {name}) for name in names) or target.is_dir():
        raise OutsideRecordingsRootError(
            f"'{entry.path}' is a symbolic link that leads outside the recordings root.",
            remedy="Put the recordings themselves below the root, mount their disk there, or make the root a folder "
            "that holds both.",
        )
