"""Units that may be one neuron which the sorter split, by SpikeInterface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from sort_assets.curation.history import COINCIDENCE_MS, UnitId, curation_of, new_unit_ids, restructure
from sort_assets.curation.in_memory_subset import in_memory_subset
from sort_assets.metrics.extensions import has_positions

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import SortingAnalyzer

# SpikeInterface's for the steps of all its presets.
_REFRACTORY_MS, _CENSORED_MS = 1.0, 0.3
_FIRST_STEPS = ("num_spikes", "remove_contaminated", "unit_locations", "template_similarity")
_LATER_STEPS = {
    "similarity_correlograms": ("correlogram", "quality_score"),
    "x_contaminations": ("cross_contamination", "quality_score"),
    "temporal_splits": ("presence_distance", "quality_score"),
}
PRESETS: dict[str, tuple[str, ...]] = {
    **{preset: (*_FIRST_STEPS, *steps) for preset, steps in _LATER_STEPS.items()},
    "slay": ("template_similarity", "slay_score"),
}
"""The steps of SpikeInterface's presets; spelt out here because a step may have to be left out."""


@dataclass(frozen=True)
class MergeSuggestion:
    """Units that may be one.

    Attributes
    ----------
    unit_ids : tuple of int or str
    preset : str
        The way in which they were found.
    similarity : float
        Least similarity of two of their templates (SpikeInterface's, 1 is the same).
    distance_um : float or None
        Largest distance of two of them, in micrometres; None without positions.
    contamination : float
        Largest estimated part of foreign spikes in one of them (Llobet et al. 2022, refractory period 1 ms).
    contamination_merged : float
        The same of all their spikes together.
    applied : bool
        Whether they were merged.
    """

    unit_ids: tuple[UnitId, ...]
    preset: str
    similarity: float
    distance_um: float | None
    contamination: float
    contamination_merged: float
    applied: bool = False

    @property
    def words(self) -> str:
        """A sentence with all of it, for the report."""
        ids = [str(each) for each in self.unit_ids]
        apart = "" if self.distance_um is None else f", {self.distance_um:.0f} µm apart"
        return (
            f"{', '.join(ids[:-1])} and {ids[-1]} {'were merged' if self.applied else 'may be one unit'}: templates "
            f"{100 * self.similarity:.0f} % similar{apart}; together {_percent(self.contamination_merged)} foreign "
            f"spikes by the refractory period, alone at most {_percent(self.contamination)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON holds it, NaN as null."""
        values = asdict(self) | {"unit_ids": list(self.unit_ids), "words": self.words}
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
        }


def undecided_merges(unit_ids: Sequence[UnitId], suggestions: Sequence[MergeSuggestion]) -> dict[str, Any]:
    """Suggested merges that were not applied, as a curation in SpikeInterface's format, version 2.

    SpikeInterface's `apply_curation`, spikeinterface-gui and `sort-assets import-curation --file` read it.

    Parameters
    ----------
    unit_ids : sequence
        All units after curation. Suggestions of units that are no longer among them are left out.
    suggestions : sequence of MergeSuggestion
    """
    ids = list(unit_ids)
    groups = [list(each.unit_ids) for each in suggestions if not each.applied and set(each.unit_ids) <= set(ids)]
    return curation_of(ids, merges=dict(zip(new_unit_ids(ids, len(groups), "merge"), groups, strict=True)))


def suggest_merges(
    analyzer: SortingAnalyzer, unit_ids: Sequence[UnitId], preset: str
) -> tuple[list[MergeSuggestion], tuple[str, ...]]:
    """Find units that may be one.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        It is not changed.
    unit_ids : sequence
        Units that are compared. Leave out what is rejected: noise never merges into a good unit.
    preset : str
        Of SpikeInterface's `compute_merge_unit_groups`.

    Returns
    -------
    suggestions : list of MergeSuggestion
    notes : tuple of str
        What could not be checked.
    """
    if len(unit_ids) < 2:
        return [], ()
    from spikeinterface.curation import compute_merge_unit_groups

    notes = []
    steps = list(PRESETS[preset])
    light = in_memory_subset(analyzer, unit_ids)
    if not has_positions(light) and "unit_locations" in steps:
        steps.remove("unit_locations")
        notes.append("Merges were suggested without regard to distance: the recording has no channel positions.")
    # The later steps smooth the correlograms of all pairs, a gigabyte of 500 units: first see which pairs are left.
    first = [step for step in steps if step in _FIRST_STEPS]
    pairs, found = compute_merge_unit_groups(
        light, preset=None, steps=first, resolve_graph=False, extra_outputs=True, force_copy=False, n_jobs=1
    )
    candidates = {unit for pair in pairs for unit in pair}
    if not candidates:
        return [], tuple(notes)
    left = light.unit_ids[[unit in candidates for unit in light.unit_ids]].tolist()
    lighter = in_memory_subset(light, left)
    correlograms = analyzer.get_extension("correlograms")
    if correlograms is not None:
        lighter.extensions["correlograms"] = correlograms.copy(lighter, unit_ids=left)
    groups = compute_merge_unit_groups(lighter, preset=None, steps=steps, n_jobs=1)
    return [_suggestion(light, [_plain(each) for each in group], preset, found) for group in groups], tuple(notes)


def _suggestion(
    light: SortingAnalyzer, group: list[UnitId], preset: str, found: dict[str, np.ndarray]
) -> MergeSuggestion:
    pairs = list(combinations(light.sorting.ids_to_indices(group), 2))
    distances = found.get("unit_distances")
    parts = light.sorting.select_units(group)
    merged = restructure(parts, curation_of(group, merges={group[0]: group}), censor_ms=COINCIDENCE_MS)
    return MergeSuggestion(
        unit_ids=tuple(group),
        preset=preset,
        similarity=float(min(1 - found["templates_diff"][pair] for pair in pairs)),
        distance_um=None if distances is None else float(max(distances[pair] for pair in pairs)),
        contamination=max(_contamination(light, group).values()),
        contamination_merged=_contamination(_of_spikes(light, merged), [group[0]])[group[0]],
    )


def _of_spikes(light: SortingAnalyzer, sorting: Any) -> SortingAnalyzer:
    """An analyzer of spike times alone."""
    from spikeinterface.core import SortingAnalyzer

    return SortingAnalyzer(sorting=sorting, recording=None, rec_attributes=light.rec_attributes, format="memory")


def _contamination(analyzer: SortingAnalyzer, unit_ids: list[UnitId]) -> dict[UnitId, float]:
    from spikeinterface.metrics.quality.misc_metrics import compute_refrac_period_violations

    found, _ = compute_refrac_period_violations(
        analyzer, unit_ids=unit_ids, refractory_period_ms=_REFRACTORY_MS, censored_period_ms=_CENSORED_MS
    )
    return {unit_id: float(found[unit_id]) for unit_id in unit_ids}


def _plain(unit_id: Any) -> UnitId:
    plain: UnitId = unit_id.item() if hasattr(unit_id, "item") else unit_id
    return plain


def _percent(part: float) -> str:
    return "an unknown part of" if math.isnan(part) else f"{100 * part:.1f} %"
