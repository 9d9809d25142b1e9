"""The rules of a recordings root as they are in force: its rules file, or the last good one, and the sidecars."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from sort_assets.config.rules import (
    RULES_FILE,
    RecordingSettings,
    Rules,
    Sidecar,
    find_sidecar,
    parse_rules,
    read_sidecar,
    rules_content,
)
from sort_assets.config.settings import RULES_VARIABLE, Roots
from sort_assets.errors import RulesError, SortAssetsError, StorageError
from sort_assets.platform.store.files import write_atomically
from sort_assets.platform.store.layout import RULES_FOLDER
from sort_assets.recordings.key import RecordingKey

RULES_PROBLEM = "rules_problem"
"""The note of `RecordingCatalog` that says what is wrong with the rules file."""


class RecordingRules:
    """What rules file and sidecars say of each recording, read once.

    Parameters
    ----------
    roots : Roots
    in_place_of_file : Path or None
        A file whose rules are taken for those of the rules file, in which nothing may be wrong.

    Raises
    ------
    RulesError
        When that file can't be read, or has mistakes.

    Attributes
    ----------
    file : Path
        The rules file; it need not be there.
    rules : Rules
        Those in force.
    version : str
        Hash of them.
    problem : RulesError or None
        What is wrong with the rules file; then the last good one is in force.
    in_force : bool
        Whether any rules are. False when the file has a problem and none was good before it: nobody knows then how a
        recording is to be treated, and `rules` are empty.
    """

    def __init__(self, roots: Roots, in_place_of_file: Path | None = None) -> None:
        self._root = roots.recordings
        self.file = roots.rules or self._root / RULES_FILE
        self._last_good = roots.store / RULES_FOLDER / RULES_FILE
        self._sidecars: dict[Path, Sidecar | SortAssetsError] = {}
        self._stamps: dict[Path, str] = {}
        self.problem: RulesError | None = None
        try:
            if roots.rules is not None and not roots.rules.is_file():
                raise RulesError(
                    f"There is no rules file '{roots.rules}', which {RULES_VARIABLE} names.",
                    remedy=f"Put it there, or unset {RULES_VARIABLE} to have the one in the recordings root read.",
                    path=os.fspath(roots.rules),
                )
            self._content = rules_content(in_place_of_file or self.file)
            self.rules = parse_rules(self._content, os.fspath(in_place_of_file or RULES_FILE))
        except RulesError as problem:
            if in_place_of_file is not None:
                raise
            self.problem = problem
            self._content, self.rules = self._read_last_good()
        self.in_force = self.problem is None or self._content != b""
        self.version = hashlib.blake2b(self._content, digest_size=8).hexdigest()

    def keep(self) -> None:
        """Make these the last good rules, unless they are. An empty file is not kept: it may just be being written.

        Raises
        ------
        OSError
            When the store can't be written.
        """
        if self.problem is None and self._content and self._kept() != self._content:
            self._last_good.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._last_good, self._content.decode("utf-8"))

    def replace_file(self, present: RecordingRules) -> Path | None:
        """Make these the content of the rules file; what was in it stays beside it, with the time in its name.

        The sensor `new_recordings`, or a scan, then finds what they change.

        Parameters
        ----------
        present : RecordingRules
            The rules file as it was when its replacement was decided.

        Returns
        -------
        Path or None
            Where the old content is; None where there was none.

        Raises
        ------
        RulesError
            When somebody has edited the rules file meanwhile.
        StorageError
            When the recordings root can't be written; the rules file stays as it was.
        """
        file = self.file.resolve()  # a link may lead to where the lab keeps its rules
        content = rules_content(file)
        if content != present._content and present.problem is None:
            raise RulesError(
                f"'{file}' has been edited meanwhile.",
                remedy="Look at what is in it now, and ask again what the new rules would do.",
                path=os.fspath(file),
            )
        old = file.with_name(f"{file.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}.old") if file.exists() else None
        try:
            if old is not None:
                shutil.copy2(file, old)
            write_atomically(file, self._content.decode("utf-8"))
            if old is not None:
                shutil.copymode(old, file)
        except OSError as error:
            raise StorageError(
                f"'{file}' can't be replaced: {error.strerror}.",
                remedy="Run the command as a user who may write the recordings root, or put the new rules there.",
                path=os.fspath(file),
            ) from error
        return old

    def settings(self, recording: str) -> RecordingSettings:
        """What is said of a recording.

        Parameters
        ----------
        recording : str
            Its key.

        Raises
        ------
        RulesError
            When its sidecar has mistakes.
        RecordingKeyError
            When there can be no such recording.
        """
        key = RecordingKey.parse(recording)
        return self.settings_of(key.path, find_sidecar(key.locate(self._root), self._root))

    def settings_of(self, relative: str, sidecar: Path | None) -> RecordingSettings:
        """What is said of a path relative to the recordings root, whose nearest sidecar is known.

        Raises
        ------
        RulesError
            When the sidecar has mistakes.
        """
        return self.rules.for_path(relative, self.sidecar(sidecar))

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        """Whether nothing in a folder is a recording."""
        return self.rules.ignores_folder(relative, self.sidecar(sidecar))

    def concatenates(self, relative: str, sidecar: Path | None, *, default: bool = False) -> bool:
        """Whether a folder is one recording, its files concatenated; `default` where nobody says so."""
        return self.rules.concatenates(relative, self.sidecar(sidecar), default=default)

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        """Whether a file is a plain binary that is described."""
        return self.rules.describes_binary(relative, self.sidecar(sidecar))

    def names_reader(self, relative: str, sidecar: Path | None) -> str:
        """The reader of SpikeInterface that is said to open a file or folder; "" for none."""
        return self.rules.names_reader(relative, self.sidecar(sidecar))

    def sidecar(self, path: Path | None) -> Sidecar | None:
        """A sidecar, read once.

        Raises
        ------
        RulesError, OutsideRecordingsRootError
        """
        if path is None:
            return None
        if path not in self._sidecars:
            try:
                self._sidecars[path] = read_sidecar(path, self._root)
            except SortAssetsError as problem:
                self._sidecars[path] = problem
        found = self._sidecars[path]
        if isinstance(found, SortAssetsError):
            raise found
        return found

    def file_stamp(self, path: Path) -> str:
        """Size and times of a file that rules or sidecars name, such as a probe file; looked at once."""
        if path not in self._stamps:
            try:
                seen = path.stat()
                self._stamps[path] = f"{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"
            except OSError:  # an unreadable folder, a share that fails: as good as gone
                self._stamps[path] = "gone"
        return self._stamps[path]

    def _kept(self) -> bytes | None:
        try:
            return rules_content(self._last_good)
        except RulesError:  # can't be read: then it has to be written again
            return None

    def _read_last_good(self) -> tuple[bytes, Rules]:
        try:
            content = rules_content(self._last_good)
            return content, parse_rules(content, RULES_FILE)
        except RulesError:  # kept by a version of ours that allowed more, or can't be read
            return b"", Rules.empty()
