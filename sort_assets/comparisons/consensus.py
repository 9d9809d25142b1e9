"""Units on which several sortings of one recording agree.

The units are those of SpikeInterface's `MultiSortingComparison`: pairs of sortings are matched one to one by agreement,
and units that match, directly or by way of another sorting's, are one. Where that would make one of two units of a
sorting, SpikeInterface removes the weakest matches of the group; here matches are put together beginning with the best,
and one that would do so is left out.

The spikes are others than those of its `get_agreement_sorting`, which takes the two units of the best match alone, and
of these the union, or with `spiketrain_mode="intersection"` the spikes that both have. Here a spike counts when at
least k of the unit's members have it within a coincidence, whichever they are: what one sorter adds alone is left out,
and what one misses is not. Of two sortings and k = 2, this is the intersection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sort_assets.comparisons.coincidences import coincidence_samples, numpy_sorting
from sort_assets.comparisons.columns import UNIT_OF, consensus_columns
from sort_assets.comparisons.fates import MATCH, SharedSpikes
from sort_assets.comparisons.same_clock import all_on_same_clock
from sort_assets.errors import ComparisonError
from sort_assets.metrics.tables import as_declared

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

    from sort_assets.comparisons.sortings import ComparedSorting
    from sort_assets.comparisons.unit_places import UnitPlaces

__all__ = ["FAR_UM", "UNIT_OF", "Consensus", "find_consensus"]

FAR_UM = 200.0
"""Distance on the probe beyond which two units are not the same, so that their spikes are not compared: a wide margin
over what sorters' estimates of one unit's position differ by, a few tens of micrometres."""

_Member = tuple[int, int]
"""Index of a sorting, and index of a unit in it."""


@dataclass(frozen=True)
class Consensus:
    """Units that enough sortings have.

    Attributes
    ----------
    table : pd.DataFrame
        One row for each unit, index its id as text; the columns are declared in `columns.consensus_columns`.
    sorting : BaseSorting
        In memory, with the same units: of each, the spikes that enough of its members have. Samples count from the
        begin of the stretch that all sortings have.
    """

    table: pd.DataFrame
    sorting: BaseSorting


@dataclass(frozen=True)
class _Match:
    one: _Member
    other: _Member
    agreement: float


def find_consensus(
    sortings: Mapping[str, ComparedSorting], *, at_least: int, agreement: float = MATCH, far_um: float = FAR_UM
) -> Consensus:
    """Find the units on which at least some number of sortings agree.

    Parameters
    ----------
    sortings : Mapping of str to ComparedSorting
        By name, of one recording; what all of them have in time is compared.
    at_least : int
        How many sortings must have a unit, and how many of these each of its spikes.
    agreement : float
        Shared spikes over those that either unit has, from which two units match; above 0, at most 1.
    far_um : float
        Units whose positions are both known and further apart than this, in micrometres, are not compared.

    Raises
    ------
    ComparisonError
        When fewer sortings are given than must agree, or they have no time in common, or differ in the number of
        segments; when `agreement` is out of its range.
    """
    names, each = list(sortings), list(sortings.values())
    if not each:
        raise ComparisonError("There is no sorting to compare.", remedy="Give at least one sorting.")
    if not 1 <= at_least <= len(each):
        raise ComparisonError(
            f"Of {len(each)} sortings, {at_least} can't agree.",
            remedy=f"Ask for units that at least 1 to {len(each)} of them have.",
        )
    if not 0 < agreement <= 1:
        raise ComparisonError(f"An agreement of {agreement} is none.", remedy="Choose one above 0 and up to 1.")
    segments = {one.sorting.get_num_segments() for one in each}
    if len(segments) > 1:
        raise ComparisonError(
            f"The sortings differ in the number of segments: {', '.join(map(str, sorted(segments)))}.",
            remedy="Compare sortings of the same recording, opened in the same way.",
        )
    placed, duration_s = all_on_same_clock([one.sorting for one in each], [one.duration_s for one in each])
    places = [one.places for one in each]
    matches = [
        _Match((one, mine), (other, its), score)
        for one, other in combinations(range(len(each)), 2)
        for mine, its, score in _matched(placed[one], placed[other], places[one], places[other], agreement, far_um)
    ]
    groups = [group for group in _groups(placed, matches) if len(group) >= at_least]
    sorting = _in_common(placed, groups, at_least)
    return Consensus(_table(names, each, places, groups, matches, sorting, duration_s), sorting)


def candidates(first: UnitPlaces, second: UnitPlaces, far_um: float = FAR_UM) -> np.ndarray:
    """Which pairs of units may be the same: bool, shape (units of the first, units of the second)."""
    between_um = np.linalg.norm(first.positions_um[:, None] - second.positions_um[None, :], axis=2)
    return np.asarray(~(between_um > far_um))


def shared_by_candidates(first: BaseSorting, second: BaseSorting, allowed: np.ndarray) -> SharedSpikes:
    """How many spikes the allowed pairs of units share, as `coincidences.shared_spikes` counts them; 0 of the others.

    Parameters
    ----------
    first, second : BaseSorting
        On the same clock, with as many segments.
    allowed : np.ndarray
        bool, shape (units of the first, units of the second).
    """
    from sort_assets.comparisons.consensus_kernels import count_coincidences

    counts = [one.count_num_spikes_per_unit(outputs="array").astype(np.int64) for one in (first, second)]
    matrix = np.zeros(allowed.shape, dtype=np.int64)
    if allowed.any():
        reach = coincidence_samples(first.get_sampling_frequency())
        vectors = (one.to_spike_vector(concatenated=False) for one in (first, second))
        for spikes, others in zip(*vectors, strict=True):
            mine, theirs = (
                (np.ascontiguousarray(one["sample_index"]), np.ascontiguousarray(one["unit_index"]))
                for one in (spikes, others)
            )
            there = count_coincidences(mine[0], theirs[0], mine[1], theirs[1], np.ascontiguousarray(allowed), reach)
            back = count_coincidences(theirs[0], mine[0], theirs[1], mine[1], np.ascontiguousarray(allowed.T), reach)
            matrix += np.maximum(there, back.T)
    # Bursts can be counted once too often (see `shared_spikes`).
    return SharedSpikes(np.minimum(matrix, np.minimum(counts[0][:, None], counts[1][None, :])), *counts)


def _matched(
    first: BaseSorting,
    second: BaseSorting,
    first_places: UnitPlaces,
    second_places: UnitPlaces,
    agreement: float,
    far_um: float,
) -> list[tuple[int, int, float]]:
    shared = shared_by_candidates(first, second, candidates(first_places, second_places, far_um))
    if not shared.matrix.size:
        return []
    from spikeinterface.comparison import comparisontools

    matched, _ = comparisontools.make_hungarian_match(pd.DataFrame(shared.agreement), agreement)
    return [(int(one), int(its), float(shared.agreement[one, its])) for one, its in matched.items() if its >= 0]


def _groups(sortings: Sequence[BaseSorting], matches: Sequence[_Match]) -> list[list[_Member]]:
    """All units, those that match together; no group has two units of one sorting."""
    groups = {
        (index, unit): [(index, unit)]
        for index, sorting in enumerate(sortings)
        for unit in range(sorting.get_num_units())
    }
    for match in sorted(matches, key=lambda each: (-each.agreement, each.one, each.other)):
        mine, theirs = groups[match.one], groups[match.other]
        if mine is theirs or {index for index, _ in mine} & {index for index, _ in theirs}:
            continue
        mine += theirs
        groups.update(dict.fromkeys(theirs, mine))
    return [sorted(group) for group in {id(group): group for group in groups.values()}.values()]


def _in_common(sortings: Sequence[BaseSorting], groups: Sequence[list[_Member]], at_least: int) -> BaseSorting:
    from sort_assets.comparisons.consensus_kernels import spikes_in_common

    rate_hz = float(sortings[0].get_sampling_frequency())
    reach = coincidence_samples(rate_hz)
    frames, units = [], []
    for segment in range(sortings[0].get_num_segments()):
        trains = [_trains(sorting, segment) for sorting in sortings]
        found = [np.empty(0, dtype=np.int64)]
        for group in groups:
            parts = [trains[index][unit] for index, unit in group]
            samples = np.concatenate(parts)
            members = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            order = np.argsort(samples, kind="stable")
            found.append(spikes_in_common(samples[order], members[order], len(parts), reach, at_least))
        frames.append(np.concatenate(found))
        units.append(np.repeat(np.arange(len(groups)), [len(one) for one in found[1:]]))
    return numpy_sorting(frames, units, [str(number) for number in range(len(groups))], rate_hz)


def _trains(sorting: BaseSorting, segment: int) -> list[np.ndarray]:
    """Samples of the spikes of each unit, int64, ascending."""
    vector = sorting.to_spike_vector(concatenated=False)[segment]
    order = np.argsort(vector["unit_index"], kind="stable")
    ends = np.cumsum(np.bincount(vector["unit_index"], minlength=sorting.get_num_units()))
    return np.split(vector["sample_index"][order].astype(np.int64), ends[:-1])


def _table(
    names: Sequence[str],
    sortings: Sequence[ComparedSorting],
    places: Sequence[UnitPlaces],
    groups: Sequence[list[_Member]],
    matches: Sequence[_Match],
    consensus: BaseSorting,
    duration_s: float,
) -> pd.DataFrame:
    group_of = {member: number for number, group in enumerate(groups) for member in group}
    scores: list[list[float]] = [[] for _ in groups]
    for match in matches:
        number = group_of.get(match.one)
        if number is not None and number == group_of.get(match.other):
            scores[number].append(match.agreement)
    spikes = consensus.count_num_spikes_per_unit(outputs="array")
    ids = [one.unit_ids for one in sortings]
    rows = []
    for number, group in enumerate(groups):
        channels = Counter(places[index].channel[unit] for index, unit in group if places[index].channel[unit])
        positions = np.array([places[index].positions_um[unit] for index, unit in group])
        row: dict[str, object] = {
            "sortings": len(group),
            "agreement": np.mean(scores[number]) if scores[number] else np.nan,
            "least_agreement": min(scores[number], default=np.nan),
            "spikes": int(spikes[number]),
            "rate_hz": spikes[number] / duration_s if duration_s > 0 else np.nan,
            "amplitude_uv": _median(np.array([places[index].amplitude_uv[unit] for index, unit in group])),
            "channel": channels.most_common(1)[0][0] if channels else None,
            "x_um": _median(positions[:, 0]),
            "y_um": _median(positions[:, 1]),
        }
        rows.append(row | {f"{UNIT_OF}{names[index]}": ids[index][unit] for index, unit in group})
    columns = consensus_columns(names)
    index = [str(number) for number in range(len(groups))]
    return as_declared(pd.DataFrame(rows, columns=[column.name for column in columns], index=index), columns)


def _median(values: np.ndarray) -> float:
    """Of the values that are known; NaN without any."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")
