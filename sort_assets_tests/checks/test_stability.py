"""Activity that collapses and units that vanish, against activity that only varies."""

import numpy as np
import pytest

from sort_assets.checks.stability import stability
from sort_assets_tests.checks.sortings import empty, neurons, silent, sorting_of


@pytest.mark.parametrize("seed", range(10))
def test_steady_units_pass(seed: int) -> None:
    assert stability(sorting_of(neurons(8, 300.0, seed)), 300.0).passed


def test_units_that_vanish_halfway_are_found() -> None:
    trains = neurons(8, 300.0)
    for unit in ("u1", "u4", "u6"):
        trains[unit] = trains[unit][trains[unit] < 150]

    result = stability(sorting_of(trains), 300.0)

    assert not result.passed
    assert (result.values["vanished_units"], result.values["late_units"]) == (3, 0)
    assert "3 fall silent for good" in result.description


def test_units_that_appear_late_are_found() -> None:
    trains = {unit: times_s[times_s > 150] for unit, times_s in neurons(8, 300.0).items()}

    result = stability(sorting_of(trains), 300.0)

    assert not result.passed
    assert result.values["late_units"] == 8


def test_a_part_without_activity_is_named() -> None:
    trains = {unit: times_s[(times_s < 120) | (times_s > 180)] for unit, times_s in neurons(8, 300.0).items()}

    result = stability(sorting_of(trains), 300.0)

    assert not result.passed
    assert "from 120 to 180 s" in result.description
    assert result.values["quiet_s"] == pytest.approx(60)


def test_a_recording_that_is_mostly_silent_is_found_too() -> None:
    trains = {unit: times_s[times_s < 100] for unit, times_s in neurons(8, 300.0).items()}

    assert "from 100 to 300 s" in stability(sorting_of(trains), 300.0).description


def test_one_of_many_units_may_vanish() -> None:
    trains = neurons(8, 300.0)
    trains["u1"] = trains["u1"][trains["u1"] < 150]

    result = stability(sorting_of(trains), 300.0)

    assert result.passed
    assert result.values["vanished_units"] == 1


def test_a_neuron_alone_may_rest() -> None:
    (times_s,) = neurons(1, 300.0).values()

    assert stability(sorting_of({"a": times_s[(times_s < 100) | (times_s > 160)]}), 300.0).passed


def test_a_rare_unit_that_is_not_there_at_the_end_proves_nothing() -> None:
    rare = np.linspace(0, 150, 30)

    assert stability(sorting_of({f"u{unit}": rare + unit / 10 for unit in range(8)}), 300.0).passed


def test_short_recordings_are_left_alone() -> None:
    trains = {unit: times_s[times_s < 20] for unit, times_s in neurons(8, 40.0).items()}

    result = stability(sorting_of(trains), 40.0)

    assert result.passed
    assert "too short" in result.description


@pytest.mark.parametrize("nothing", [empty(), silent(2)])
def test_without_spikes_there_is_nothing_to_check(nothing) -> None:
    result = stability(nothing, 300.0)

    assert result.passed
    assert "nothing to check" in result.description
