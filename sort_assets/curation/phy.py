"""A person's work in a folder that was exported to Phy.

Phy never changes which spikes there are: it gives each spike another cluster (`spike_clusters.npy`) and each cluster a
group (`cluster_group.tsv`); `spike_templates.npy` keeps the unit that a spike had at the export.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.curation.history import (
    COINCIDENCE_MS,
    HistoryStep,
    UnitId,
    curation_of,
    hash_spikes,
    new_unit_ids,
    plain_ids,
)
from sort_assets.curation.manual import QUALITY, ManualCuration, current_user
from sort_assets.curation.phy_files import CLUSTERS, GROUPS, UNSORTED, grouped, read_column, unreadable
from sort_assets.curation.phy_note import NOTE_FILE, read_note
from sort_assets.errors import CurationError

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

_TEMPLATES, _TIMES = "spike_templates.npy", "spike_times.npy"
_TABLES = (GROUPS, "cluster_info.tsv", "cluster_group.csv", "cluster_groups.csv", "cluster_info.csv")
"""Where groups may be, the best table first. Phy 2 writes the first two, Phy 1 the fourth; people make the others."""
_NAMED = 10
"""Clusters that a note names."""
_CLUSTERS_REMEDY = (
    "Merges and splits are in this file alone: put it back from a backup or a snapshot of the disk. Without one the "
    f"labels can be saved: copy the folder, copy {_TEMPLATES} onto {CLUSTERS} in the copy, and import the copy with "
    "`--phy`; that gives each cluster of the export its label. Leave this folder as it is until then."
)
_EXPORTED_REMEDY = (
    "Phy never changes {name}: put it back from a backup, or export the same units to another folder with "
    "`sort-assets export-phy --folder` and copy it from there. Leave everything else in this folder as it is."
)


def from_phy_folder(folder: Path, sorting: BaseSorting, *, user: str | None = None) -> ManualCuration:
    """Read what a person did in Phy, as splits, merges and labels of the exported units.

    A cluster that holds all spikes of one unit, and no others, is that unit. Every other cluster becomes a new unit:
    first the units are split whose spikes went to several clusters, then what lies in one cluster is merged. Groups
    become labels: of a new unit the group that was saved, of an old one a group that it did not have at the export.
    A row that is blank or says "unsorted" takes back what was said before; a cluster without a row keeps its label.

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
        Its steps lead from `sorting` to the clusters in the folder, in which a spike that several merged units had
        found counts once.

    Raises
    ------
    CurationError
        When the array of clusters, or the only table with groups, is missing, half-written or of another format, or the
        folder holds the spikes of another sorting. Whatever else is in the folder is not needed.
    """
    clusters = _read_spikes(folder, CLUSTERS)
    units, positions = _units_of_spikes(folder, sorting, len(clusters))
    groups, notes = _read_groups(folder, np.unique(clusters))
    ids = plain_ids(sorting)
    splits, merges, names = _splits_and_merges(ids, units, positions, clusters)

    user = user or current_user()
    made_by = {"person": user, "file": str(folder)}
    steps = []
    if splits:
        steps.append(HistoryStep(title="Splits in Phy", made_by=made_by, curation=curation_of(ids, splits=splits)))
    parts = [each for each in ids if each not in splits] + [each for new in splits.values() for each in new]
    if merges:
        # Phy gives the spikes of both to one cluster, also those that both had found.
        merge = curation_of(parts, merges=merges)
        steps.append(HistoryStep(title="Merges in Phy", made_by=made_by, curation=merge, censor_ms=COINCIDENCE_MS))
    merged = {each for group in merges.values() for each in group}
    final = [each for each in parts if each not in merged] + list(merges)
    note = read_note(folder) if (folder / NOTE_FILE).exists() else None
    known = set(ids)
    shown = {cluster: group for cluster, group in (note.groups if note else {}).items() if names.get(cluster) in known}
    said = {names[cluster]: group or UNSORTED for cluster, group in groups.items() if shown.get(cluster, "") != group}
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
        notes=notes,
    )


def _labelled(unit_ids: list[UnitId], groups: dict[UnitId, str]) -> dict[str, object]:
    curation = curation_of(unit_ids)
    options = sorted({"good", "mua", "noise", UNSORTED, *groups.values()})
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
        raise unreadable(
            folder / CLUSTERS,
            f"it has {count} spikes, {_TIMES} has {len(times)}, {_TEMPLATES} {len(templates)}",
            remedy=_CLUSTERS_REMEDY,
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
            remedy="Name the recording that it was exported from. Where a file of the export was replaced, put it "
            "back; leave what Phy saved as it is.",
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
    remedy = _CLUSTERS_REMEDY if name == CLUSTERS else _EXPORTED_REMEDY.format(name=name)
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise CurationError(
            f"'{folder}' is no complete Phy folder: {name} is not there.",
            remedy=f"Name the folder that was exported to Phy. {remedy}",
            path=str(path),
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise unreadable(path, str(error), remedy=remedy) from error
    if not isinstance(values, np.ndarray) or values.size != max(values.shape, default=1):
        raise unreadable(path, "it is not one number per spike", remedy=remedy)
    # Kilosort writes times as unsigned numbers; whole numbers that were saved as floats are accepted too.
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.round(values)).all()))
    if not whole or bool((values < 0).any()):
        raise unreadable(path, "it holds something else than whole numbers from 0", remedy=remedy)
    return values.reshape(-1).astype(np.int64)


def _read_groups(folder: Path, clusters: np.ndarray) -> tuple[dict[int, str], list[str]]:
    """The group of each cluster that has a row, in lower case, empty where it has none; and sentences for the person.

    Phy saves the clusters first, then a table for each field, and a table of all fields last. Each of the tables may be
    what an interrupted save left, and `spike_clusters.npy` is the newest. The table of groups lacks the clusters that
    have none; so for what one table lacks, the next one is asked.
    """
    groups: dict[int, str] = {}
    lacking = set(clusters.tolist())
    notes: list[str] = []
    errors: list[CurationError] = []
    read: list[Path] = []
    for path in (folder / name for name in _TABLES if (folder / name).exists()):
        try:
            column = read_column(path, "group")
        except CurationError as error:
            errors.append(error)
            continue
        with_group = grouped(column.values)
        added = {cluster: with_group.get(cluster, "") for cluster in lacking if cluster in column.values}
        taken = [cluster for cluster, group in added.items() if group]
        if not read:
            notes += [f"{error.message} The groups are those of {path.name}." for error in errors]
        elif taken:
            notes.append(f"Clusters that {read[0].name} lacks have the groups of {path.name}: {_named(taken)}.")
        if not read or taken:
            if gone := set(with_group) - set(clusters.tolist()):
                notes.append(
                    f"{path.name} has groups of clusters without spikes, which were left out: {_named(gone)}. "
                    "If saving was interrupted, look whether labels are missing."
                )
            notes += column.notes
        groups |= added
        lacking -= set(added)
        read.append(path)
        if not lacking:
            break
    if errors and not read:
        raise errors[0]
    if not read:
        notes.append(f"The folder has no table of groups ({GROUPS}): all clusters keep the labels that they had.")
    elif lacking:
        tables = " and ".join(path.name for path in read)
        notes.append(f"Clusters without a row in {tables} keep the labels that they had, if any: {_named(lacking)}.")
    return groups, notes


def _named(clusters: Collection[int]) -> str:
    return ", ".join(map(str, sorted(clusters)[:_NAMED])) + (", …" if len(clusters) > _NAMED else "")
