"""What was decided of the units of a sorting, step by step, in a form that can be read in ten years and taken again.

Each step carries a curation in SpikeInterface's own format, version 2, so that SpikeInterface alone can take them:
``for step in history.steps: sorting = apply_curation(sorting, step.curation, censor_ms=step.censor_ms)`` gives the
units that are kept.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from sort_assets.errors import CurationError

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    Units = TypeVar("Units", BaseSorting, SortingAnalyzer)

UnitId = int | str

COINCIDENCE_MS = 0.4
"""Two spikes that are not further apart are the same spike; SpikeInterface's default where it looks for duplicates."""
LABEL = "label"
"""The category of labels in the steps that decide on units, and a property of the curated sorting."""


class HistoryStep(BaseModel):
    """One step of a curation.

    Attributes
    ----------
    title : str
        What was done.
    made_by : dict
        What decided: thresholds with their values, or a person with the file that was read.
    software : dict
        Versions of the packages that computed it.
    curation : dict
        SpikeInterface's curation format, version 2: unit ids before the step, labels, removals, merges, splits.
    reasons : dict
        Why, by unit id as text.
    censor_ms : float or None
        Of spikes in a merged unit that are less than this apart, the first one stays: SpikeInterface's `censor_ms`,
        in milliseconds. None keeps all, as the steps of older versions did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    title: str
    made_by: dict[str, Any]
    software: dict[str, str] = Field(default_factory=lambda: software_versions())
    curation: dict[str, Any]
    reasons: dict[str, str] = {}
    censor_ms: float | None = None


class CurationHistory(BaseModel):
    """All steps from the units of the sorter to the units that are kept; plain JSON.

    Attributes
    ----------
    unit_ids : list of int or str
        The units of the sorting before the first step.
    spikes : str
        Hash of their spike trains, by which `replay` knows the sorting.
    steps : list of HistoryStep
        In their order. The last one labels all units and removes those that are not kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    format_version: Literal[1] = 1
    unit_ids: list[UnitId]
    spikes: str
    steps: list[HistoryStep]


def software_versions() -> dict[str, str]:
    """Versions of the packages that decide on units."""
    return {name: version(name) for name in ("sort-assets", "spikeinterface")}


def plain_ids(units: BaseSorting | SortingAnalyzer) -> list[UnitId]:
    """The unit ids as Python's own numbers or text."""
    return [unit_id.item() if hasattr(unit_id, "item") else unit_id for unit_id in units.unit_ids]


def hash_spikes(sorting: BaseSorting) -> str:
    """Hash of the unit ids and their spike trains, the same however the sorting is stored."""
    import numpy as np

    spikes = sorting.to_spike_vector()
    order = np.lexsort((spikes["sample_index"], spikes["segment_index"], spikes["unit_index"]))
    digest = hashlib.sha256(repr(plain_ids(sorting)).encode())
    for name in ("unit_index", "segment_index", "sample_index"):
        digest.update(np.ascontiguousarray(spikes[name][order], dtype="<i8").tobytes())
    return digest.hexdigest()


def curation_of(
    unit_ids: list[UnitId],
    *,
    labels: dict[UnitId, str] | None = None,
    removed: list[UnitId] | None = None,
    merges: dict[UnitId, list[UnitId]] | None = None,
    splits: dict[UnitId, dict[UnitId, list[int]]] | None = None,
) -> dict[str, Any]:
    """A curation in SpikeInterface's format, version 2.

    Parameters
    ----------
    unit_ids : list
        All units before the step.
    labels : dict
        One label of some units.
    removed : list
        Units that are taken out.
    merges : dict
        The units that become one, by the id of the new unit.
    splits : dict
        By the unit that is split: the new units, each with indices into the unit's spikes.
    """
    named = dict(labels or {})
    # SpikeInterface wants at least two options.
    options = sorted({"good", "rejected", *named.values()})
    return {
        "format_version": "2",
        "unit_ids": list(unit_ids),
        "label_definitions": {LABEL: {"name": LABEL, "label_options": options, "exclusive": True}} if named else {},
        "manual_labels": [{"unit_id": unit, "labels": {LABEL: [label]}} for unit, label in named.items()],
        "removed": list(removed or []),
        "merges": [{"unit_ids": list(group), "new_unit_id": new} for new, group in (merges or {}).items()],
        "splits": [
            {
                "unit_id": unit,
                "mode": "indices",
                "indices": [list(indices) for indices in parts.values()],
                "new_unit_ids": list(parts),
            }
            for unit, parts in (splits or {}).items()
        ],
    }


def new_unit_ids(unit_ids: list[UnitId], count: int, prefix: str) -> list[UnitId]:
    """Ids for new units as SpikeInterface numbers them: after the largest; `prefix` and a number after other text."""
    texts = [str(unit_id) for unit_id in unit_ids]
    if all(isinstance(unit_id, int) for unit_id in unit_ids) or all(text.isdecimal() for text in texts):
        first = max(map(int, texts), default=-1) + 1
        numbers = range(first, first + count)
        return list(numbers) if isinstance(next(iter(unit_ids), 0), int) else [str(number) for number in numbers]
    free = (f"{prefix}{number}" for number in range(len(texts) + count) if f"{prefix}{number}" not in texts)
    return [next(free) for _ in range(count)]


def ids_after(unit_ids: list[UnitId], curation: dict[str, Any]) -> list[UnitId]:
    """The units after the merges and splits of a step, in SpikeInterface's order; removals are left out."""
    ids = list(unit_ids)
    for merge in curation["merges"]:
        ids = [each for each in ids if each not in merge["unit_ids"] or each == merge["new_unit_id"]]
        ids += [] if merge["new_unit_id"] in ids else [merge["new_unit_id"]]
    for split in curation["splits"]:
        ids.remove(split["unit_id"])
        ids += split["new_unit_ids"]
    return ids


def replay(
    units: Units, history: CurationHistory, *, only_kept: bool = False, job_kwargs: dict[str, Any] | None = None
) -> Units:
    """Take the steps of a history again.

    Parameters
    ----------
    units : BaseSorting or SortingAnalyzer
        The units that the history begins with, the same spikes under the same ids.
    history : CurationHistory
        From `curate`.
    only_kept : bool
        Also remove the units that are not kept, instead of only merging and splitting.
    job_kwargs : dict or None
        For what has to be computed again of an analyzer.

    Returns
    -------
    BaseSorting or SortingAnalyzer
        A new object of the same kind; its sorting has the properties `label` and `kept`. An analyzer of which no unit
        changes is returned as it is, without these properties.

    Raises
    ------
    CurationError
        When the units are not those of the history, or an analyzer can't be merged without its recording.
    """
    from spikeinterface.core import BaseSorting

    sorting = units if isinstance(units, BaseSorting) else units.sorting
    if plain_ids(sorting) != history.unit_ids or hash_spikes(sorting) != history.spikes:
        raise CurationError(
            "The history of curation is about other units than those of this sorting.",
            remedy="Replay it on the version of the sorting that was curated; its manifest names it.",
            units=len(sorting.unit_ids),
            units_of_history=len(history.unit_ids),
        )
    for step in history.steps:
        units = restructure(units, step.curation, censor_ms=step.censor_ms, job_kwargs=job_kwargs)
    removed = [unit_id for step in history.steps for unit_id in step.curation["removed"]]
    kept = [unit_id for unit_id in plain_ids(units) if unit_id not in set(removed)]
    if isinstance(units, BaseSorting):
        units = with_verdicts(units, final_labels(history), set(kept))
    return units.select_units(kept) if only_kept else units


def final_labels(history: CurationHistory) -> dict[UnitId, str]:
    """The label of each unit after all steps."""
    if not history.steps:
        return {}
    return {each["unit_id"]: each["labels"][LABEL][0] for each in history.steps[-1].curation["manual_labels"]}


def with_verdicts(sorting: BaseSorting, labels: dict[UnitId, str], kept: set[UnitId]) -> BaseSorting:
    """A copy of the sorting, its units' properties included, with the properties `label` and `kept`."""
    import numpy as np
    from spikeinterface.core import NumpySorting

    copy = NumpySorting.from_sorting(sorting, with_metadata=True)
    ids = plain_ids(sorting)
    copy.set_property(LABEL, np.array([labels.get(each, "") for each in ids], dtype=str))
    copy.set_property("kept", np.array([each in kept for each in ids], dtype=bool))
    return copy


def restructure(
    units: Units,
    curation: dict[str, Any],
    *,
    censor_ms: float | None = None,
    job_kwargs: dict[str, Any] | None = None,
) -> Units:
    """Apply the merges and splits of a step, and nothing else of it.

    Waveforms and what was computed of them are merged and split without reading the recording where the units' channels
    overlap enough for that, and computed again where they do not.

    Parameters
    ----------
    units : BaseSorting or SortingAnalyzer
    curation : dict
        In SpikeInterface's format.
    censor_ms : float or None
        As of the step.
    job_kwargs : dict or None
        For what has to be computed again of an analyzer.

    Raises
    ------
    CurationError
        When an analyzer would have to be computed again and has no recording.
    """
    if not curation["merges"] and not curation["splits"]:
        return units
    from spikeinterface.core import BaseSorting
    from spikeinterface.curation import apply_curation

    # Labels are left out: SpikeInterface 0.105.3 writes them onto the sorting that it is given.
    structure = {**curation, "removed": [], "manual_labels": [], "label_definitions": {}}
    if isinstance(units, BaseSorting):
        return apply_curation(units, structure, censor_ms=censor_ms)
    groups = [merge["unit_ids"] for merge in curation["merges"]]
    mode = "soft"
    # A dense analyzer has no sparsity to compare, and SpikeInterface 0.105.3 fails on asking.
    if groups and units.sparsity is not None and not all(units.are_units_mergeable(groups).values()):
        if not units.has_recording():
            raise CurationError(
                "Units that lie on different channels are merged, and the recording with their waveforms is gone.",
                remedy="Make the `.dat` again, or bring the recording back; or replay the history on the sorting.",
            )
        mode = "hard"
    # Not handed to `apply_curation`, which 0.105.3 hands on only to merges.
    return apply_curation(units, structure, censor_ms=censor_ms, merging_mode=mode, **(job_kwargs or {}))
