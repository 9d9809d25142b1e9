"""Our note in a folder that was exported to Phy: what it holds, and whether a person's work in it was imported."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sort_assets.curation.phy_files import CLUSTERS, GROUPS, grouped, read_column, unreadable
from sort_assets.errors import CurationError

NOTE_FILE = "sort_assets.json"
"""What was exported, and how the files looked then."""
_PHY_CACHE = ".phy"
_NOTE_REMEDY = (
    "Export the same units to another folder with `sort-assets export-phy --folder`, and copy its sort_assets.json "
    "into this one. Leave everything else in this folder as it is: a person's work is in it."
)


class PhyNote(BaseModel):
    """What is noted beside an export.

    Attributes
    ----------
    recording : str
        Key of the recording.
    sorting_version, data_version : str
        Version in the store, and data version, of the units that were exported.
    exported_at : datetime
    exported : dict
        SHA-256 of each file that Phy changes, at the export.
    groups : dict
        The group that each cluster had at the export, where it had one: nobody said that.
    imported_at : datetime or None
        When a person's changes were last read.
    imported : dict or None
        SHA-256 of the files at that time.
    imported_as : str or None
        The version of `manual_curation` that came of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    recording: str
    sorting_version: str
    data_version: str
    exported_at: datetime
    exported: dict[str, str]
    groups: dict[int, str] = {}
    imported_at: datetime | None = None
    imported: dict[str, str] | None = None
    imported_as: str | None = None


@dataclass(frozen=True)
class PhyChanges:
    """What happened to a folder since its export.

    Attributes
    ----------
    note : PhyNote
    files : tuple of str
        Files that were changed, added or removed since the export.
    opened : bool
        Whether Phy left its cache there.
    imported : bool
        Whether what is in the folder now was imported.
    """

    note: PhyNote
    files: tuple[str, ...]
    opened: bool
    imported: bool

    @property
    def changed(self) -> bool:
        """Whether Phy saved anything."""
        return bool(self.files)

    @property
    def pending(self) -> bool:
        """Whether there is work of a person that was not imported."""
        return self.changed and not self.imported


def note_export(folder: Path, *, recording: str, sorting_version: str, data_version: str) -> PhyNote:
    """Note beside an export what it holds and how it looks before a person opens it.

    Parameters
    ----------
    folder : Path
        Just written by SpikeInterface's `export_to_phy`.
    recording : str
        Key of the recording.
    sorting_version, data_version : str
        Version in the store, and data version, of the exported units.
    """
    note = PhyNote(
        recording=recording,
        sorting_version=sorting_version,
        data_version=data_version,
        exported_at=datetime.now(UTC),
        exported=_hashes(folder),
        groups=grouped(read_column(folder / GROUPS, "group").values) if (folder / GROUPS).exists() else {},
    )
    _write_note(folder, note)
    return note


def note_import(folder: Path, version: str | None = None) -> PhyNote:
    """Note that what a person changed in the folder so far was imported.

    Parameters
    ----------
    folder : Path
    version : str or None
        What it became in the store.

    Raises
    ------
    CurationError
        When the folder has no note of ours.
    """
    imported = {"imported_at": datetime.now(UTC), "imported": _hashes(folder), "imported_as": version}
    note = read_note(folder).model_copy(update=imported)
    _write_note(folder, note)
    return note


def read_note(folder: Path) -> PhyNote:
    """The note beside an export.

    Raises
    ------
    CurationError
        When there is none, or it can't be read.
    """
    path = folder / NOTE_FILE
    try:
        return PhyNote.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CurationError(
            f"'{folder}' was not exported by sort_assets: {NOTE_FILE} is not there.",
            remedy="Name the folder that was exported. If this is a copy of it, copy sort_assets.json into it too.",
            path=str(folder),
        ) from error
    except (OSError, ValueError) as error:
        raise unreadable(path, str(error), remedy=_NOTE_REMEDY) from error


def changes(folder: Path) -> PhyChanges:
    """Whether a person saved something in the folder since it was exported.

    Phy rewrites its files on every save, even without changes: that counts as a change.

    Raises
    ------
    CurationError
        When the folder has no note of ours.
    """
    note, now = read_note(folder), _hashes(folder)
    files = sorted(name for name in {*note.exported, *now} if note.exported.get(name) != now.get(name))
    opened = (folder / _PHY_CACHE).exists()
    return PhyChanges(note, tuple(files), opened=opened, imported=note.imported == now)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files in which Phy keeps what a person decided, by name."""
    found = [folder / CLUSTERS, *folder.glob("cluster_*.tsv"), *folder.glob("cluster_*.csv")]
    return {path.name: _hash(path) for path in sorted(found) if path.is_file()}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_note(folder: Path, note: PhyNote) -> None:
    fresh = folder / f".{NOTE_FILE}-{os.getpid()}"
    try:
        fresh.write_text(note.model_dump_json(indent=1), encoding="utf-8")
        fresh.replace(folder / NOTE_FILE)
    finally:
        fresh.unlink(missing_ok=True)
