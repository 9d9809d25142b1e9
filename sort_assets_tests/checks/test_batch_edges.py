"""Holes at the edges of batches: found where they are, and only there."""

import numpy as np
import pytest

from sort_assets.checks.batch_edges import holes_at_batch_edges
from sort_assets_tests.checks.sortings import RATE_HZ, bursting, empty, neurons, silent, sorting_of

BATCH_S = 2.0
BATCH = round(BATCH_S * RATE_HZ)


def with_holes(
    trains: dict[str, np.ndarray], before_ms: float = 7.0, after_ms: float = 7.0, kept: float = 0.0
) -> dict[str, np.ndarray]:
    """Without the spikes around every edge, but for a part of them."""
    rng = np.random.default_rng(0)
    holed = {}
    for unit, times_s in trains.items():
        phase_ms = 1000 * ((times_s + BATCH_S / 2) % BATCH_S - BATCH_S / 2)
        lost = (phase_ms >= -before_ms) & (phase_ms <= after_ms) & (rng.uniform(size=times_s.size) >= kept)
        holed[unit] = times_s[~lost]
    return holed


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("make", [neurons, bursting])
def test_a_hole_at_each_edge_is_found_and_a_sound_sorting_passes(make, seed: int) -> None:
    trains = make(20, 300.0, seed)

    holed = holes_at_batch_edges(sorting_of(with_holes(trains)), BATCH)
    sound = holes_at_batch_edges(sorting_of(trains), BATCH)

    assert not holed.passed
    assert holed.values["missing_percent"] > 90
    assert " % are missing" in holed.description
    assert "every 2 s" in holed.description
    assert sound.passed
    assert sound.values["probability"] > 1e-4


def test_no_sound_sorting_of_hundreds_raises_an_alarm() -> None:
    results = [holes_at_batch_edges(sorting_of(neurons(8, 60.0, seed)), BATCH) for seed in range(200)]

    assert all(result.passed for result in results)
    assert sum("spikes_at_edges" in result.values for result in results) > 150  # not for lack of spikes


@pytest.mark.parametrize(
    ("before_ms", "after_ms", "kept"),
    [(7.0, 0.0, 0.0), (0.0, 7.0, 0.0), (3.0, 3.0, 0.0), (7.0, 7.0, 0.5)],
    ids=["only before the edge", "only after it", "narrow", "half of the spikes"],
)
def test_other_holes_are_found_where_there_are_enough_spikes(before_ms: float, after_ms: float, kept: float) -> None:
    holed = with_holes(neurons(20, 300.0), before_ms, after_ms, kept)

    assert not holes_at_batch_edges(sorting_of(holed), BATCH).passed


def test_holes_elsewhere_than_at_edges_are_not_blamed_on_batches() -> None:
    shifted = {unit: times_s + 0.5 for unit, times_s in with_holes(neurons(20, 300.0)).items()}

    assert holes_at_batch_edges(sorting_of(shifted), BATCH).passed


def test_activity_locked_to_a_stimulus_of_the_same_period_is_no_hole() -> None:
    trains = {unit: times_s[(times_s % BATCH_S) > 0.5] for unit, times_s in neurons(20, 300.0).items()}

    # Silent for half a second from every edge on, and the window around it is like many others.
    assert holes_at_batch_edges(sorting_of(trains), BATCH).passed


def test_a_few_missing_spikes_of_very_many_are_significant_and_no_hole() -> None:
    result = holes_at_batch_edges(sorting_of(with_holes(neurons(300, 300.0), kept=0.85)), BATCH)

    assert result.passed
    assert float(result.values["probability"]) < 1e-4


@pytest.mark.parametrize(
    ("trains", "reason"),
    [({"a": np.array([3.0, 5.0])}, "Too few spikes"), ({"a": np.array([0.1, 0.2])}, "both sides of an edge")],
)
def test_too_few_spikes_pass_and_say_so(trains: dict[str, np.ndarray], reason: str) -> None:
    result = holes_at_batch_edges(sorting_of(trains), BATCH)

    assert result.passed
    assert reason in result.description


@pytest.mark.parametrize("nothing", [empty(), silent(), silent(3)])
def test_without_spikes_there_is_nothing_to_check(nothing) -> None:
    result = holes_at_batch_edges(nothing, BATCH)

    assert result.passed
    assert "nothing to check" in result.description


@pytest.mark.parametrize("batch", [None, 0])
def test_a_sorter_without_batches_has_no_edges(batch: int | None) -> None:
    assert "nothing to check" in holes_at_batch_edges(sorting_of(neurons(2, 10.0)), batch).description


def test_batches_too_short_to_compare_windows_pass() -> None:
    assert holes_at_batch_edges(sorting_of(neurons(20, 60.0)), 1000).passed
