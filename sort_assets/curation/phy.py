"""A person's work in a folder that was exported to Phy.

Phy never changes which spikes there are: it gives each spike another cluster (`spike_clusters.npy`) and each cluster a
group (`cluster_group.tsv`); `spike_templates.npy` keeps the unit that a spike had at the export.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from sort_assets.curation.history import HistoryStep, UnitId, curation_of, hash_spikes, new_unit_ids, plain_ids
from sort_assets.curation.manual import QUALITY, ManualCuration, current_user
from sort_assets.errors import CurationError

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

NOTE_FILE = "sort_assets.json"
"""Our note in the folder: what was exported, and how the files looked then."""
_CLUSTERS, _TEMPLATES, _TIMES = "spike_clusters.npy", "spike_templates.npy", "spike_times.npy"
_GROUPS, _INFO = "cluster_group.tsv", "cluster_info.tsv"
_PHY_CACHE = ".phy"
_UNSORTED = "unsorted"
_NO_GROUP = frozenset({"", _UNSORTED, "none", "nan"})


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
        """Whether somebody saved something."""
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
        groups=_grouped(_read_column(folder / _GROUPS, "group")) if (folder / _GROUPS).exists() else {},
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
            remedy="Name the folder that was exported, or export the units again.",
            path=str(folder),
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error


def changes(folder: Path) -> PhyChanges:
    """Whether a person saved something in the folder since it was exported.

    Phy writes its files anew whenever somebody saves, also when nothing was changed: that counts as a change.

    Raises
    ------
    CurationError
        When the folder has no note of ours.
    """
    note, now = read_note(folder), _hashes(folder)
    files = sorted(name for name in {*note.exported, *now} if note.exported.get(name) != now.get(name))
    opened = (folder / _PHY_CACHE).exists()
    return PhyChanges(note, tuple(files), opened=opened, imported=note.imported == now)


def from_phy_folder(folder: Path, sorting: BaseSorting, *, user: str | None = None) -> ManualCuration:
    """Read what a person did in Phy, as splits, merges and labels of the exported units.

    A cluster that holds all spikes of one unit, and no others, is that unit. Every other cluster becomes a new unit:
    first the units are split whose spikes went to several clusters, then what lies in one cluster is merged. Groups
    become labels: of a new unit the group that was saved, of an old one a group that it did not have at the export.
    "unsorted" takes back what was said before.

    Parameters
    ----------
    folder : Path
        A folder in Phy's format, exported from `sorting`.
    sorting : BaseSorting
        The units that were exported, of one segment.
    user : str or None
        Who curated; None takes the name of the user of this process.

    Returns
    -------
    ManualCuration
        Its steps lead from `sorting` to exactly the clusters in the folder.

    Raises
    ------
    CurationError
        When a file is missing, half-written or of another format, or the folder holds the spikes of another sorting.
    """
    clusters = _read_spikes(folder, _CLUSTERS)
    units, positions = _units_of_spikes(folder, sorting, len(clusters))
    groups = _read_groups(folder, np.unique(clusters))
    ids = plain_ids(sorting)
    splits, merges, names = _splits_and_merges(ids, units, positions, clusters)

    user = user or current_user()
    made_by = {"person": user, "file": str(folder)}
    steps = []
    if splits:
        steps.append(HistoryStep(title="Splits in Phy", made_by=made_by, curation=curation_of(ids, splits=splits)))
    parts = [each for each in ids if each not in splits] + [each for new in splits.values() for each in new]
    if merges:
        steps.append(HistoryStep(title="Merges in Phy", made_by=made_by, curation=curation_of(parts, merges=merges)))
    merged = {each for group in merges.values() for each in group}
    final = [each for each in parts if each not in merged] + list(merges)
    note = read_note(folder) if (folder / NOTE_FILE).exists() else None
    known = set(ids)
    shown = {cluster: group for cluster, group in (note.groups if note else {}).items() if names.get(cluster) in known}
    said = {names[cluster]: group for cluster, group in groups.items() if shown.get(cluster) != group}
    said |= {names[cluster]: _UNSORTED for cluster in shown if cluster not in groups}
    steps.append(HistoryStep(title="Groups in Phy", made_by=made_by, curation=_labelled(final, said)))
    return ManualCuration(
        user=user,
        made_at=datetime.now(UTC),
        source="phy",
        path=str(folder),
        data_version=note.data_version if note else "",
        unit_ids=ids,
        spikes=hash_spikes(sorting),
        steps=steps,
    )


def _labelled(unit_ids: list[UnitId], groups: dict[UnitId, str]) -> dict[str, object]:
    curation = curation_of(unit_ids)
    options = sorted({"good", "mua", "noise", _UNSORTED, *groups.values()})
    curation["label_definitions"] = {QUALITY: {"name": QUALITY, "label_options": options, "exclusive": True}}
    curation["manual_labels"] = [
        {"unit_id": unit_id, "labels": {QUALITY: [groups[unit_id]]}} for unit_id in unit_ids if unit_id in groups
    ]
    return curation


def _splits_and_merges(
    ids: list[UnitId], units: np.ndarray, positions: np.ndarray, clusters: np.ndarray
) -> tuple[dict[UnitId, dict[UnitId, list[int]]], dict[UnitId, list[UnitId]], dict[int, UnitId]]:
    """What turns units into clusters.

    Parameters
    ----------
    ids : list
        All units of the sorting.
    units, positions, clusters : np.ndarray, shape (spikes,)
        Index of each spike's unit, its position among the spikes of that unit, and its cluster.

    Returns
    -------
    splits : dict
        New units with their positions, by the unit that is split.
    merges : dict
        Units, or parts of units, by the new unit that they become.
    names : dict
        The resulting unit by cluster.
    """
    order = np.lexsort((positions, clusters, units))
    units, positions, clusters = units[order], positions[order], clusters[order]
    # A piece is what one unit gave to one cluster.
    starts = np.flatnonzero(np.r_[True, (np.diff(units) != 0) | (np.diff(clusters) != 0)])[: len(units)]
    spikes = np.split(positions, starts[1:])
    piece_units, piece_clusters = units[starts], clusters[starts]
    pieces_of_unit = {unit: np.flatnonzero(piece_units == unit) for unit in np.unique(piece_units).tolist()}
    pieces_of_cluster = {each: np.flatnonzero(piece_clusters == each) for each in np.unique(piece_clusters).tolist()}

    def is_unchanged(pieces: np.ndarray) -> bool:
        return len(pieces) == 1 and len(pieces_of_unit[int(piece_units[pieces[0]])]) == 1

    made = [cluster for cluster, pieces in pieces_of_cluster.items() if not is_unchanged(pieces)]
    passing = [
        int(piece)
        for pieces in pieces_of_cluster.values()
        for piece in pieces
        if len(pieces) > 1 and len(pieces_of_unit[int(piece_units[piece])]) > 1
    ]
    new = new_unit_ids(ids, len(made) + len(passing), "phy")
    names: dict[int, UnitId] = dict(zip(made, new[: len(made)], strict=True))
    for cluster, pieces in pieces_of_cluster.items():
        names.setdefault(cluster, ids[int(piece_units[pieces[0]])])
    # Parts that are merged again need a name in between.
    piece_names: dict[int, UnitId] = dict(zip(passing, new[len(made) :], strict=True))

    def name_of(piece: int) -> UnitId:
        if len(pieces_of_unit[int(piece_units[piece])]) == 1:
            return ids[int(piece_units[piece])]
        return piece_names[piece] if piece in piece_names else names[int(piece_clusters[piece])]

    splits = {
        ids[unit]: {name_of(int(piece)): spikes[piece].tolist() for piece in pieces}
        for unit, pieces in pieces_of_unit.items()
        if len(pieces) > 1
    }
    merges = {
        names[cluster]: [name_of(int(piece)) for piece in pieces]
        for cluster, pieces in pieces_of_cluster.items()
        if len(pieces) > 1
    }
    return splits, merges, names


def _units_of_spikes(folder: Path, sorting: BaseSorting, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the unit of each spike in the folder, and its position among that unit's spikes.

    Which unit a template is follows from its spikes: SpikeInterface 0.105.3 counts units without spikes in
    `spike_templates.npy` and not in its list of unit ids.
    """
    times, templates = _read_spikes(folder, _TIMES), _read_spikes(folder, _TEMPLATES)
    if not len(times) == len(templates) == count:
        raise _unreadable(
            folder / _CLUSTERS, f"it has {count} spikes, {_TIMES} has {len(times)}, {_TEMPLATES} {len(templates)}"
        )
    spikes = sorting.to_spike_vector()
    here = np.lexsort((times, templates))
    there = np.lexsort((spikes["sample_index"], spikes["unit_index"]))
    same = len(spikes) == count and np.array_equal(times[here], spikes["sample_index"][there])
    units = spikes["unit_index"][there]
    if not same or not np.array_equal(np.diff(templates[here]) != 0, np.diff(units) != 0):
        raise CurationError(
            f"'{folder}' holds other spikes than this sorting: {count:,} there, {len(spikes):,} here"
            f"{' at other times' if len(spikes) == count else ''}.",
            remedy="Import it for the recording and version that it was exported from, or export the units again.",
            path=str(folder),
            spikes_in_folder=count,
            spikes_in_sorting=len(spikes),
        )
    first = np.searchsorted(units, units, side="left")
    of_spike, position = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    of_spike[here], position[here] = units, np.arange(count) - first
    return of_spike, position


def _read_spikes(folder: Path, name: str) -> np.ndarray:
    """An array of one whole number per spike."""
    path = folder / name
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise CurationError(
            f"'{folder}' is no complete Phy folder: {name} is not there.",
            remedy="Name the folder that was exported to Phy.",
            path=str(path),
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(values, np.ndarray) or values.size != len(np.atleast_1d(values)):
        raise _unreadable(path, "it is not one number per spike")
    # Kilosort writes times as unsigned numbers; whole numbers that were saved as floats are accepted too.
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.round(values)).all()))
    if not whole or bool((values < 0).any()):
        raise _unreadable(path, "it holds something else than whole numbers from 0")
    return values.reshape(-1).astype(np.int64)


def _read_groups(folder: Path, clusters: np.ndarray) -> dict[int, str]:
    """The group of each cluster that has one, in lower case."""
    groups = _read_column(folder / _GROUPS, "group", required=True) if (folder / _GROUPS).exists() else None
    if (folder / _INFO).exists():
        # Phy writes it last, with every cluster in it.
        listed = _read_column(folder / _INFO, "group")
        if set(listed) != set(clusters.tolist()):
            raise _unreadable(folder / _INFO, f"it lists other clusters than {_CLUSTERS}; was saving interrupted?")
        groups = listed if groups is None else groups
    groups = _grouped(groups or {})
    gone = sorted(set(groups) - set(clusters.tolist()))
    if gone:
        raise _unreadable(folder / _GROUPS, f"it names clusters without spikes ({gone[:10]}); was saving interrupted?")
    return groups


def _grouped(groups: dict[int, str]) -> dict[int, str]:
    return {cluster: group for cluster, group in groups.items() if group not in _NO_GROUP}


def _read_column(path: Path, field: str, *, required: bool = False) -> dict[int, str]:
    """A column of a table of clusters, in lower case, by cluster; empty where it may be missing and is."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t", strict=True))
        values = {int(row["cluster_id"]): row[field] if required else row.get(field) for row in rows}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise _unreadable(path, f"it is no table of clusters ({error!r})") from error
    if len(values) != len(rows):
        raise _unreadable(path, "it names a cluster twice")
    if required and (not path.stat().st_size or None in values.values()):
        raise _unreadable(path, "it breaks off")
    return {cluster: (value or "").strip().lower() for cluster, value in values.items()}


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files in which Phy keeps what a person decided, by name."""
    found = [folder / _CLUSTERS, *folder.glob("cluster_*.tsv")]
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


def _unreadable(path: Path, why: str) -> CurationError:
    return CurationError(
        f"'{path}' can't be read: {why}.",
        remedy="Open the folder in Phy and save again; if that fails, export the units again.",
        path=str(path),
    )
