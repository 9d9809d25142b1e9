"""Recall, precision and accuracy of injected units, by what they have in common, with intervals."""

import math

import numpy as np
import pytest
from spikeinterface.core import NumpySorting

from sort_assets.hybrid.accuracy import (
    Share,
    UnitAccuracy,
    accuracy_table,
    by_amplitude,
    by_depth,
    by_snr,
    measure_accuracy,
    overall,
)
from sort_assets.hybrid.injection import draw_spikes
from sort_assets.hybrid.placement import place_units
from sort_assets_tests.hybrid.examples import AFTER, BEFORE, RATE_HZ, donor_at, noise_of, probe_of

PROBE = probe_of()
UNITS = place_units(
    [donor_at(PROBE, 100.0)], PROBE.contact_positions, noise_of(PROBE), num_units=4, duration_s=60.0, seed=3
)
TRUTH = draw_spikes(UNITS, sampling_hz=RATE_HZ, start=0, end=round(60 * RATE_HZ), before=BEFORE, after=AFTER, seed=5)


def trains() -> list[np.ndarray]:
    return [TRUTH.get_unit_spike_train(unit.unit_id) for unit in UNITS]


def sorting_of(units: dict[str, np.ndarray]) -> NumpySorting:
    return NumpySorting.from_unit_dict([units], RATE_HZ)


def measured_unit(snr: float, found: int, of: int = 100, wrong: int = 0, depth_um: float = 0.0) -> UnitAccuracy:
    return UnitAccuracy(
        f"at {snr} {depth_um}", "7", snr, 8 * snr, depth_um, 20.0, 5.0, of, "3" if found else "", found + wrong, found
    )


def test_what_is_missed_lowers_recall_and_what_is_wrong_lowers_precision() -> None:
    perfect, half, foreign, missed = trains()
    foreign_spikes = np.arange(77, 77 + 10_000 * len(foreign), 10_000)[: len(foreign)]
    found = sorting_of(
        {
            "10": perfect + 3,
            "11": half[::2],
            "12": np.sort(np.concatenate([foreign, foreign_spikes])),
            "own": np.arange(5_000, 1_000_000, 7_777),
        }
    )

    by_id = {one.unit_id: one for one in measure_accuracy(UNITS, TRUTH, found)}

    a, b, c, d = (by_id[unit.unit_id] for unit in UNITS)
    assert (a.recall, a.precision, a.found_as) == (1.0, 1.0, "10")
    assert (b.recall, b.precision) == (pytest.approx(0.5, abs=0.01), 1.0)
    assert (c.recall, c.precision) == (1.0, pytest.approx(0.5, abs=0.02))
    assert (d.recall, d.accuracy, d.found_as, d.found_spikes) == (0.0, 0.0, "", 0)
    assert math.isnan(d.precision)
    assert len(missed) == d.spikes


@pytest.mark.parametrize("found", [sorting_of({}), sorting_of({"1": np.array([], dtype=int)})])
def test_a_sorter_that_finds_nothing_has_a_recall_of_zero(found: NumpySorting) -> None:
    measured = measure_accuracy(UNITS, TRUTH, found)

    assert [one.recall for one in measured] == [0.0] * 4
    assert overall(measured).recall.value == 0.0


def test_spikes_of_other_units_find_nothing_by_chance() -> None:
    others = draw_spikes(UNITS, sampling_hz=RATE_HZ, start=0, end=round(60 * RATE_HZ), before=0, after=1, seed=99)

    assert all(one.recall == 0.0 for one in measure_accuracy(UNITS, TRUTH, others))


def test_two_injected_units_in_one_found_unit_are_found_once() -> None:
    first, second, *_ = trains()
    merged = sorting_of({"1": np.unique(np.concatenate([first, second]))})

    measured = measure_accuracy(UNITS, TRUTH, merged)

    assert sorted(one.recall > 0.9 for one in measured) == [False, False, False, True]


def test_units_are_put_together_by_snr_amplitude_and_depth() -> None:
    measured = [measured_unit(3.0, 0), measured_unit(5.0, 50, depth_um=100.0), measured_unit(15.0, 100, depth_um=400.0)]

    assert [(one.units, one.recall.value) for one in by_snr(measured) if one.units] == [(1, 0.0), (1, 0.5), (1, 1.0)]
    assert [one.units for one in by_amplitude(measured)] == [1, 1, 0, 1, 0]
    assert [one.units for one in by_depth(measured)] == [1, 1, 0, 1]
    assert sum(one.units for one in by_depth([measured_unit(3.0, 0)])) == 1
    assert by_depth([]) == []


def test_intervals_are_wilsons() -> None:
    assert Share.of([1.0] * 7 + [0.0] * 3).low == pytest.approx(0.3968, abs=1e-4)
    assert Share.of([1.0] * 7 + [0.0] * 3).high == pytest.approx(0.8922, abs=1e-4)
    assert Share.of([0.0] * 5).low == 0.0
    assert Share.of([1.0] * 5).high == 1.0
    assert math.isnan(Share.of([]).value)
    assert Share.of([math.nan, 0.5]).value == 0.5


def test_the_words_say_what_becomes_of_units_like_this_one() -> None:
    snr = by_snr([measured_unit(15.0, 88, wrong=3), measured_unit(3.0, 0)])

    assert snr[-1].words == "units like this one are found with precision 0.97 and recall 0.88"
    assert snr[0].words == "units like this one are not found"
    assert snr[1].words == "no unit like this one was injected"


def test_plain_values_make_the_same_unit_again_and_the_table_has_a_row_for_each() -> None:
    measured = [measured_unit(5.0, 50, wrong=50), measured_unit(9.0, 0)]

    table = accuracy_table(measured)

    assert [UnitAccuracy(**one.to_dict()) for one in measured] == measured
    assert table["precision"].iloc[0] == 0.5
    assert accuracy_table([]).index.name == "unit_id"
