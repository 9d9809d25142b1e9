"""Which spikes are at joins of a recording."""

import numpy as np
from spikeinterface.core import NumpySorting

from sort_assets.recordings.clock import Clock, ClockPiece, clock_from_start, join_clocks
from sort_assets.recordings.joins import SPIKES_AT_JOINS, annotate_spikes_at_joins, at_join

RATE_HZ = 30_000.0


def test_a_waveform_is_at_a_join_when_it_has_samples_on_both_sides() -> None:
    joins, before, after = [100, 104, 250], 3, 5
    samples = np.arange(300)

    found = at_join(samples, joins, before, after)

    expected = [any(s - before < join < s + after for join in joins) for s in samples.tolist()]
    np.testing.assert_array_equal(found, expected)
    assert np.flatnonzero(found).tolist() == [*range(96, 107), *range(246, 253)]


def test_without_joins_no_spike_is_at_one() -> None:
    assert not at_join([0, 5, 7], [], 30, 60).any()


def test_files_that_go_on_where_the_one_before_ended_have_no_join() -> None:
    minute = join_clocks([clock_from_start(1000, RATE_HZ, 5.0), clock_from_start(500, RATE_HZ, 5.0 + 1000 / RATE_HZ)])
    restarted = join_clocks([clock_from_start(1000, RATE_HZ), clock_from_start(500, RATE_HZ)])

    assert minute.joins == ()
    assert restarted.joins == (1000,)


def test_both_ends_of_a_gap_filled_with_zeros_are_joins_and_no_time_is_recorded_between() -> None:
    pieces = (
        ClockPiece(0, 1000, 0.0, RATE_HZ),
        ClockPiece(1000, 1600, 1000 / RATE_HZ, RATE_HZ, filled=True),
        ClockPiece(1600, 2000, 1600 / RATE_HZ, RATE_HZ),
    )
    clock = Clock(pieces, RATE_HZ, "sample numbers")

    assert clock.joins == (1000, 1600)
    assert clock.jumps == ()
    np.testing.assert_allclose(clock.intervals_s() * RATE_HZ, [[0, 1000], [1600, 2000]])
    assert Clock.from_dict(clock.to_dict()) == clock


def test_a_sorting_names_its_spikes_at_joins() -> None:
    sorting = NumpySorting.from_unit_dict([{"a": np.array([10, 95, 400]), "b": np.array([200])}], RATE_HZ)

    annotate_spikes_at_joins(sorting, [100], 30, 60)

    assert sorting.get_annotation(SPIKES_AT_JOINS) == {"a": [1]}
