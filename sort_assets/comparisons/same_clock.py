"""Two sortings of one recording on the same samples, also where they begin or end at different times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.comparisons.coincidences import numpy_sorting
from sort_assets.errors import ComparisonError

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

_SAME_TIME_S = 1e-6
"""Less than a sample of any recording of spikes."""


@dataclass(frozen=True)
class SameClock:
    """Two sortings whose samples mean the same times.

    Attributes
    ----------
    old, new : BaseSorting
        The units in the stretch that both have.
    duration_s : float
        Length of that stretch in seconds.
    cut_s : float
        How much of the longer sorting lies outside of it, in seconds.
    """

    old: BaseSorting
    new: BaseSorting
    duration_s: float
    cut_s: float


def on_same_clock(old: BaseSorting, new: BaseSorting, old_duration_s: float, new_duration_s: float) -> SameClock:
    """Bring two sortings onto the same samples.

    Where they begin at the same time and are as long, nothing is done: the samples are the same. Otherwise the spikes
    in the stretch that both have are placed on samples of the old sorting's frequency by their times.

    Parameters
    ----------
    old, new : BaseSorting
        Their times are those of the recording's clock: what was left out at the beginning counts (`shift_times`, or a
        registered recording). With one segment, unless start and length are the same.
    old_duration_s, new_duration_s : float
        How long each sorted recording is.

    Raises
    ------
    ComparisonError
        When they have no time in common.
    """
    sampling_hz = float(old.get_sampling_frequency())
    starts = [float(sorting.sample_index_to_time(0, segment_index=0)) for sorting in (old, new)]
    alike = (
        math.isclose(sampling_hz, new.get_sampling_frequency(), rel_tol=1e-6)
        and abs(starts[0] - starts[1]) < _SAME_TIME_S
        and abs(old_duration_s - new_duration_s) < 1 / sampling_hz
    )
    if alike:
        return SameClock(old, new, old_duration_s, 0.0)
    begin_s = max(starts)
    ends = [_end_s(sorting, length) for sorting, length in ((old, old_duration_s), (new, new_duration_s))]
    end_s = min(ends)
    if end_s <= begin_s:
        raise ComparisonError(
            f"The sortings have no time in common: one is of {starts[0]:.3f} to {ends[0]:.3f} s, the other of "
            f"{starts[1]:.3f} to {ends[1]:.3f} s.",
            remedy="Compare sortings of the same stretch: recording.start_s and recording.end_s choose it.",
        )
    both = [_placed(sorting, begin_s, end_s, sampling_hz) for sorting in (old, new)]
    length_s = end_s - begin_s
    longest_s = max(end - start for start, end in zip(starts, ends, strict=True))
    return SameClock(both[0], both[1], length_s, max(longest_s - length_s, 0.0))


def all_on_same_clock(sortings: Sequence[BaseSorting], durations_s: Sequence[float]) -> tuple[list[BaseSorting], float]:
    """Bring several sortings onto the same samples, in the stretch that all of them have.

    Parameters
    ----------
    sortings : sequence of BaseSorting
        As for `on_same_clock`.
    durations_s : sequence of float
        How long each sorted recording is.

    Returns
    -------
    sortings : list of BaseSorting
        As they are where all begin at the same time and are as long.
    duration_s : float
        Length of the stretch.

    Raises
    ------
    ComparisonError
        When they have no time in common.
    """
    starts = [float(sorting.sample_index_to_time(0, segment_index=0)) for sorting in sortings]
    pairs = [
        on_same_clock(sortings[0], other, durations_s[0], length)
        for other, length in zip(sortings[1:], durations_s[1:], strict=True)
    ]
    if all(pair.old is sortings[0] for pair in pairs):
        return list(sortings), durations_s[0]
    ends = [_end_s(sorting, length) for sorting, length in zip(sortings, durations_s, strict=True)]
    begin_s, end_s = max(starts), min(ends)
    if end_s <= begin_s:
        raise ComparisonError(
            "The sortings have no time that all of them share.", remedy="Compare sortings of the same stretch."
        )
    rate_hz = float(sortings[0].get_sampling_frequency())
    return [_placed(sorting, begin_s, end_s, rate_hz) for sorting in sortings], end_s - begin_s


def in_stretch(sorting: BaseSorting, begin_s: float, end_s: float) -> BaseSorting:
    """The spikes of all units within a stretch of the recording's clock, on samples that count from its begin."""
    return _placed(sorting, begin_s, end_s, float(sorting.get_sampling_frequency()))


def _end_s(sorting: BaseSorting, duration_s: float) -> float:
    """Time of the end on the recording's clock, which may have gaps."""
    last = max(round(duration_s * sorting.get_sampling_frequency()) - 1, 0)
    return float(sorting.sample_index_to_time(last, segment_index=0)) + 1 / float(sorting.get_sampling_frequency())


def _placed(sorting: BaseSorting, begin_s: float, end_s: float, sampling_hz: float) -> BaseSorting:
    if sorting.get_num_segments() != 1:
        raise ComparisonError(
            f"Sortings of {sorting.get_num_segments()} segments must begin and end together to be compared.",
            remedy="Compare sortings of the same stretch, or of one segment.",
        )
    spikes = sorting.to_spike_vector()
    times = np.asarray(sorting.sample_index_to_time(np.asarray(spikes["sample_index"]), segment_index=0))
    inside = (times >= begin_s) & (times < end_s)
    frames = np.rint((times[inside] - begin_s) * sampling_hz).astype(np.int64)
    return numpy_sorting([frames], [spikes["unit_index"][inside]], sorting.unit_ids, sampling_hz)
