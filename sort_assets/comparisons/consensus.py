"""Units on which several sortings of one recording agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sort_assets.comparisons.coincidences import coincidence_samples, numpy_sorting, shared_spikes
from sort_assets.comparisons.fates import SharedSpikes
from sort_assets.comparisons.same_clock import all_on_same_clock
from sort_assets.errors import ComparisonError

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

    from sort_assets.comparisons.sortings import ComparedSorting

FAR_UM = 200.0
"""Units that are further apart on the probe are not the same, whatever spikes they share by chance: several times the
distance over which positions estimated by different sorters' spikes differ, and below that over which a spike is seen.
"""
UNIT_OF = "unit in "
"""What the columns of the table begin with that name each sorting's unit."""

Member = tuple[int, int]
"""Index of a sorting, and index of a unit in it."""


@dataclass(frozen=True)
class Consensus:
    """Units that enough sortings have.

    Attributes
    ----------
    sorting : BaseSorting
        Of each unit, the spikes that enough of the sortings have which have the unit: where the median of theirs is.
    table : pd.DataFrame
        A row for each unit, index its id as text: `sortings` (how many have it), `agreement` (mean over the pairs of
        their units that match), `spikes`, `rate_hz`, place and amplitude where they are known, and by sorting the id of
        its unit.
    """

    sorting: BaseSorting
    table: pd.DataFrame


def find_consensus(sortings: Mapping[str, ComparedSorting], *, at_least: int) -> Consensus:
    """Find the units that at least some number of sortings agree on.

    Units of two sortings match as in a comparison: one to one, with an agreement of at least 0.5 (SpikeInterface's
    Hungarian match). Matches are put together beginning with the best; one that would bring two units of a sorting
    into one unit of the consensus is left out, as SpikeInterface's multiple comparison leaves out the weaker ones. Of
    each pair of sortings, coincident spikes are counted in one pass over both; units that are far apart on the probe
    are no match.

    Parameters
    ----------
    sortings : Mapping of str to ComparedSorting
        By name; what all of them have in time is compared.
    at_least : int
        How many sortings must have a unit, and each of its spikes.

    Raises
    ------
    ComparisonError
        When there are fewer sortings than must agree, or they have no time in common.
    """
    names = list(sortings)
    if not 1 <= at_least <= len(names):
        raise ComparisonError(
            f"Of {len(names)} sortings, {at_least} can't agree.",
            remedy=f"Ask for units that at least 1 to {len(names)} of them have.",
        )
    each = list(sortings.values())
    placed, duration_s = all_on_same_clock([one.sorting for one in each], [one.duration_s for one in each])
    matches = [
        match
        for (one, first), (other, second) in combinations(enumerate(placed), 2)
        for match in _matches(one, other, shared_spikes(first, second), each[one], each[other])
    ]
    found = [group for group in _groups(placed, matches) if len(group) >= at_least]
    sorting = _spikes_in_common(placed, found, at_least)
    return Consensus(sorting, _table(names, each, found, matches, sorting, duration_s))


@dataclass(frozen=True)
class _Match:
    one: Member
    other: Member
    agreement: float


def _matches(
    one: int, other: int, shared: SharedSpikes, first: ComparedSorting, second: ComparedSorting
) -> Iterable[_Match]:
    places = first.places.positions_um, second.places.positions_um
    if shared.matrix.size:
        distances_um = np.linalg.norm(places[0][:, None] - places[1][None, :], axis=2)
        shared = SharedSpikes(np.where(distances_um > FAR_UM, 0, shared.matrix), shared.old, shared.new)
    for unit, its in shared.hungarian_match().items():
        yield _Match((one, unit), (other, its), float(shared.agreement[unit, its]))


def _groups(sortings: Sequence[BaseSorting], matches: Iterable[_Match]) -> list[list[Member]]:
    """All units, those that match together; no group has two units of a sorting."""
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
        for member in theirs:
            groups[member] = mine
    return [sorted(group) for group in {id(group): group for group in groups.values()}.values()]


def _spikes_in_common(sortings: Sequence[BaseSorting], groups: Sequence[list[Member]], at_least: int) -> BaseSorting:
    """Spikes that follow each other within the time of a coincidence are one, which so many members of a group have."""
    rate_hz = float(sortings[0].get_sampling_frequency())
    reach = coincidence_samples(rate_hz)
    frames, units = [], []
    for segment in range(sortings[0].get_num_segments()):
        vectors = [sorting.to_spike_vector(concatenated=False)[segment] for sorting in sortings]
        orders = [np.argsort(vector["unit_index"], kind="stable") for vector in vectors]
        found = [np.empty(0, dtype=np.int64)]
        for group in groups:
            samples, members = [], []
            for index, unit in group:
                sorted_units = vectors[index]["unit_index"][orders[index]]
                begin, end = np.searchsorted(sorted_units, [unit, unit + 1])
                samples.append(vectors[index]["sample_index"][orders[index][begin:end]])
                members.append(np.full(end - begin, index))
            found.append(_in_common(np.concatenate(samples), np.concatenate(members), reach, at_least))
        frames.append(np.concatenate(found))
        units.append(np.repeat(np.arange(len(groups)), [len(one) for one in found[1:]]))
    return numpy_sorting(frames, units, [str(number) for number in range(len(groups))], rate_hz)


def _in_common(samples: np.ndarray, members: np.ndarray, reach: int, at_least: int) -> np.ndarray:
    if not samples.size:
        return samples.astype(np.int64)
    order = np.argsort(samples, kind="stable")
    samples, members = samples[order], members[order]
    event = np.concatenate([[0], np.cumsum(np.diff(samples) > reach)])
    pairs = np.unique(np.stack([event, members]), axis=1)
    having = np.bincount(pairs[0])
    starts = np.searchsorted(event, np.arange(len(having)))
    middle = starts + (np.bincount(event) - 1) // 2
    return np.asarray(samples[middle[having >= at_least]], dtype=np.int64)


def _table(
    names: Sequence[str],
    sortings: Sequence[ComparedSorting],
    groups: Sequence[list[Member]],
    matches: Iterable[_Match],
    consensus: BaseSorting,
    duration_s: float,
) -> pd.DataFrame:
    group_of = {member: number for number, group in enumerate(groups) for member in group}
    agreements: dict[int, list[float]] = {}
    for match in matches:
        number = group_of.get(match.one)
        if number is not None and number == group_of.get(match.other):
            agreements.setdefault(number, []).append(match.agreement)
    spikes = consensus.count_num_spikes_per_unit(outputs="array")
    places, ids = [one.places for one in sortings], [one.unit_ids for one in sortings]
    rows = []
    for number, group in enumerate(groups):
        placed = [(places[index], unit) for index, unit in group]
        xy = np.array([place.positions_um[unit] for place, unit in placed])
        known = xy[~np.isnan(xy).any(axis=1)]
        amplitudes = np.array([place.amplitude_uv[unit] for place, unit in placed])
        channels = [place.channel[unit] for place, unit in placed if place.channel[unit]]
        row: dict[str, object] = {
            "sortings": len(group),
            "agreement": float(np.mean(agreements[number])) if number in agreements else np.nan,
            "spikes": int(spikes[number]),
            "rate_hz": float(spikes[number] / duration_s) if duration_s > 0 else np.nan,
            "amplitude_uv": float(np.nanmedian(amplitudes)) if not np.isnan(amplitudes).all() else np.nan,
            "channel": channels[0] if channels else None,
            "x_um": float(np.median(known[:, 0])) if len(known) else np.nan,
            "y_um": float(np.median(known[:, 1])) if len(known) else np.nan,
        }
        mine = dict(group)
        row |= {
            f"{UNIT_OF}{name}": ids[index][mine[index]] if index in mine else None for index, name in enumerate(names)
        }
        rows.append(row)
    columns = ["sortings", "agreement", "spikes", "rate_hz", "amplitude_uv", "channel", "x_um", "y_um"]
    named = dict.fromkeys((f"{UNIT_OF}{name}" for name in names), object)
    columns += list(named)
    index = pd.Index([str(number) for number in range(len(groups))], name="unit", dtype=object)
    return pd.DataFrame(rows, columns=columns, index=index).astype({"channel": object, **named})
