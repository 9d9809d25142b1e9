"""Two sortings of one recording against each other: what became of each unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sort_assets.comparisons.coincidences import repeated_within, shared_spikes
from sort_assets.comparisons.columns import PAIRS
from sort_assets.comparisons.fates import FATES, Fate, SharedSpikes, UnitChange, unit_changes
from sort_assets.comparisons.same_clock import on_same_clock
from sort_assets.comparisons.unit_places import UnitPlaces, template_similarity
from sort_assets.metrics.tables import as_declared

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting, SortingAnalyzer

PERSISTS = 0.8
"""Agreement from which a unit that was split or merged is still there, for most of its spikes: SpikeInterface's
`well_detected_score`."""
_MOVED_UM = 20.0
"""Distance beyond which a unit has moved where the contacts' distance is not known: that of the densest probes in use
(Neuropixels). Positions that are estimated from waveforms of the same spikes differ by a few micrometres."""


@dataclass(frozen=True)
class ComparedSorting:
    """One of two sortings that are compared.

    Attributes
    ----------
    sorting : BaseSorting
        Its times are those of the recording's clock.
    duration_s : float
        Length of what was sorted.
    metrics : pd.DataFrame or None
        Metrics of its units, index unit id as text: where each is and how large.
    analyzer : SortingAnalyzer or None
        With the templates of the same units in the same order.
    """

    sorting: BaseSorting
    duration_s: float
    metrics: pd.DataFrame | None = None
    analyzer: SortingAnalyzer | None = None

    @property
    def unit_ids(self) -> list[str]:
        """As text."""
        return [str(unit_id) for unit_id in self.sorting.unit_ids]

    @property
    def places(self) -> UnitPlaces:
        """Where its units are."""
        if self.metrics is None:
            return UnitPlaces.unknown(len(self.sorting.unit_ids))
        return UnitPlaces.from_metrics(self.unit_ids, self.metrics)


@dataclass(frozen=True)
class SortingComparison:
    """Two sortings of one recording against each other.

    Attributes
    ----------
    pairs : pd.DataFrame
        One row for each pair of units that belong together, and for each unit that is lost or new; the columns are
        declared in `columns.PAIRS`.
    old_fates, new_fates : mapping
        What became of each unit, by its id as text: kept, moved, split, merged or lost, and for new units kept, moved,
        split, merged or new.
    duration_s : float
        Length of the stretch that both have.
    cut_s : float
        How much of the longer one lies outside of it.
    """

    pairs: pd.DataFrame
    old_fates: Mapping[str, Fate]
    new_fates: Mapping[str, Fate]
    duration_s: float
    cut_s: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """How many units met each fate: old units, and those that are new."""
        found = Counter(self.old_fates.values())
        found["new"] = sum(fate == "new" for fate in self.new_fates.values())
        return {fate: found[fate] for fate in FATES}

    @property
    def matches(self) -> dict[str, str]:
        """New unit by old one, of those that were kept or moved."""
        one_to_one = self.pairs[self.pairs["fate"].isin(["kept", "moved"])]
        return dict(zip(one_to_one["old_unit"], one_to_one["new_unit"], strict=True))

    @property
    def persisting(self) -> list[str]:
        """Old units that are still there: kept, moved, or split or merged with an agreement of at least `PERSISTS`."""
        there = self.pairs["fate"].isin(["kept", "moved"]) | (self.pairs["agreement"] >= PERSISTS).fillna(False)
        there &= self.pairs["fate"] != "lost"
        return list(dict.fromkeys(self.pairs.loc[there & self.pairs["old_unit"].notna(), "old_unit"]))

    @property
    def agreements(self) -> np.ndarray:
        """Agreement of each old unit with the new one that has most of it, shape (old units,); 0 where none has any."""
        best = self.pairs.dropna(subset="old_unit").groupby("old_unit", sort=False)["agreement"].max()
        return best.reindex(list(self.old_fates)).fillna(0.0).to_numpy(float)

    @property
    def median_agreement(self) -> float | None:
        """Over the old units; None where there are none."""
        return float(np.median(self.agreements)) if self.old_fates else None

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        if not self.old_fates and not self.new_fates:
            return "Neither sorting has units."
        words = [f"{number} {fate}" for fate, number in self.counts.items() if number]
        number = len(self.old_fates)
        return f"{number} unit{'' if number == 1 else 's'} before, {len(self.new_fates)} now: {', '.join(words)}."


def compare_sortings(old: ComparedSorting, new: ComparedSorting, *, pitch_um: float | None = None) -> SortingComparison:
    """Find out what became of the units of one sorting in another one of the same recording.

    Parameters
    ----------
    old, new : ComparedSorting
        They may begin and end at different times: what both have is compared.
    pitch_um : float or None
        Distance between contacts; a kept unit that is further away than that has moved.

    Raises
    ------
    ComparisonError
        When they have no time in common.
    """
    both = on_same_clock(old.sorting, new.sorting, old.duration_s, new.duration_s)
    shared = shared_spikes(both.old, both.new)
    changes = unit_changes(shared, partial(repeated_within, both.old), partial(repeated_within, both.new))
    places = (old.places, new.places)
    beyond_um = _MOVED_UM if pitch_um is None else max(pitch_um, _MOVED_UM)
    changes = [_moved(change, places, beyond_um) for change in changes]
    ids = (old.unit_ids, new.unit_ids)
    pairs = _table(changes, shared, ids, places, both.duration_s, (old.analyzer, new.analyzer))
    old_fates = {ids[0][index]: change.fate for change in changes for index in change.old}
    new_fates = {ids[1][index]: change.fate for change in changes for index in change.new}
    return SortingComparison(
        pairs=pairs,
        old_fates={unit: old_fates[unit] for unit in ids[0]},
        new_fates={unit: new_fates[unit] for unit in ids[1]},
        duration_s=both.duration_s,
        cut_s=both.cut_s,
    )


def _moved(change: UnitChange, places: tuple[UnitPlaces, UnitPlaces], beyond_um: float) -> UnitChange:
    if change.fate == "kept" and places[0].distance_um(places[1], change.old[0], change.new[0]) > beyond_um:
        return UnitChange("moved", change.old, change.new)
    return change


def _table(
    changes: list[UnitChange],
    shared: SharedSpikes,
    ids: tuple[list[str], list[str]],
    places: tuple[UnitPlaces, UnitPlaces],
    duration_s: float,
    analyzers: tuple[SortingAnalyzer | None, SortingAnalyzer | None],
) -> pd.DataFrame:
    rows = [(change.fate, one, other) for change in changes for one in change.old for other in change.new]
    similar = template_similarity(*analyzers, [(one, other) for _, one, other in rows])
    records = []
    for (fate, one, other), likeness in zip(rows, similar, strict=True):
        records.append(
            {
                "fate": fate,
                **_side("old", one, ids[0], shared.old, places[0], duration_s),
                **_side("new", other, ids[1], shared.new, places[1], duration_s),
                "agreement": shared.agreement[one, other],
                "shared_spikes": shared.matrix[one, other],
                "part_of_old": shared.part_of_old[one, other],
                "part_of_new": shared.part_of_new[one, other],
                "distance_um": places[0].distance_um(places[1], one, other),
                "template_similarity": likeness,
            }
        )
    for change in changes:
        if change.fate == "lost":
            side = _side("old", change.old[0], ids[0], shared.old, places[0], duration_s)
            records.append({"fate": "lost", **side, **_nearest(shared, change.old[0], ids[1])})
        elif change.fate == "new":
            side = _side("new", change.new[0], ids[1], shared.new, places[1], duration_s)
            records.append({"fate": "new", **side, **_nearest(shared.swapped, change.new[0], ids[0])})
    table = pd.DataFrame.from_records(records, columns=[column.name for column in PAIRS])
    return as_declared(table, PAIRS).reset_index(drop=True)


def _side(
    side: str, index: int, ids: list[str], spikes: np.ndarray, places: UnitPlaces, duration_s: float
) -> dict[str, object]:
    return {
        f"{side}_unit": ids[index],
        f"{side}_spikes": spikes[index],
        f"{side}_rate_hz": spikes[index] / duration_s if duration_s > 0 else np.nan,
        f"{side}_amplitude_uv": places.amplitude_uv[index],
        f"{side}_channel": places.channel[index] or None,
        f"{side}_x_um": places.positions_um[index, 0],
        f"{side}_y_um": places.positions_um[index, 1],
    }


def _nearest(shared: SharedSpikes, unit: int, others: list[str]) -> dict[str, object]:
    """Of a unit that no other one matches, the best match there is (SpikeInterface's best match)."""
    if not others or not shared.matrix[unit].any():
        return {}
    best = int(shared.agreement[unit].argmax())
    return {"best_match": others[best], "agreement": shared.agreement[unit, best]}
