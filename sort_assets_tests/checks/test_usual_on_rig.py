"""Yield, noise and drift against what is usual on a rig."""

import numpy as np
import pytest

from sort_assets.checks.usual_on_rig import drift_as_usual, noise_level, yield_as_usual

HISTORY = [40, 42, 38, 45, 41, 39]


@pytest.mark.parametrize("num_units", [25, 40, 55])
def test_a_usual_yield_passes(num_units: int) -> None:
    assert yield_as_usual(num_units, HISTORY).passed


@pytest.mark.parametrize(("num_units", "words"), [(3, "fewer than usual"), (0, "0 units"), (150, "more than usual")])
def test_an_unusual_yield_warns_in_both_directions(num_units: int, words: str) -> None:
    result = yield_as_usual(num_units, HISTORY)

    assert (result.passed, result.severity) == (False, "warn")
    assert words in result.description
    assert result.values["usual_units"] == 40.5


def test_one_odd_recording_in_the_history_does_not_spoil_it() -> None:
    assert not yield_as_usual(5, [*HISTORY, 600]).passed


@pytest.mark.parametrize("history", [[], [40], [40, 41, 39, 42]])
def test_a_short_history_passes_and_says_so(history: list[int]) -> None:
    result = yield_as_usual(1, history)

    assert result.passed
    assert "too short to say" in result.description


def test_a_rig_that_never_has_units_finds_none_usual() -> None:
    assert yield_as_usual(0, [0] * 6).passed
    assert yield_as_usual(2, [0] * 6).passed
    assert not yield_as_usual(20, [0] * 6).passed


@pytest.mark.parametrize(("noise_uv", "words"), [(0.01, "gain"), (400.0, "ground")])
def test_implausible_noise_warns_without_any_history(noise_uv: float, words: str) -> None:
    result = noise_level(np.full(4, noise_uv), [])

    assert not result.passed
    assert words in result.description
    assert result.values["median_noise_uv"] == noise_uv


def test_usual_noise_passes_whatever_a_few_channels_do() -> None:
    result = noise_level([8.0, 8.2, 7.9, 8.1, 0.0, 300.0], [8.0, 8.3, 7.8, 8.1, 8.2])

    assert result.passed
    assert result.values["implausible_channels"] == 2


@pytest.mark.parametrize(("noise_uv", "words"), [(3.0, "Quieter than usual"), (20.0, "Louder than usual")])
def test_noise_that_is_unusual_on_this_rig_warns(noise_uv: float, words: str) -> None:
    result = noise_level([noise_uv], [8.0, 8.3, 7.8, 8.1, 8.2])

    assert not result.passed
    assert words in result.description


def test_equal_noise_in_all_recordings_leaves_room_for_small_changes() -> None:
    assert noise_level([9.0], [8.0] * 5).passed


@pytest.mark.parametrize("noise_uv", [[], [np.nan, np.nan]])
def test_without_known_noise_there_is_nothing_to_check(noise_uv: list[float]) -> None:
    assert "nothing to check" in noise_level(noise_uv, [8.0] * 5).description


def test_unknown_noise_in_the_history_does_not_count() -> None:
    assert "too short" in noise_level([8.0], [8.0, 8.1, 7.9, 8.0, float("nan")]).description


def test_more_drift_than_usual_warns_and_less_does_not() -> None:
    history = [8.0, 9.0, 7.5, 8.2, 8.4]

    much, usual, little = (drift_as_usual([drift, np.nan], history) for drift in (40.0, 9.5, 0.5))

    assert (much.passed, usual.passed, little.passed) == (False, True, True)
    assert "40 µm; usual on this rig are 8.2 µm" in much.description
    assert drift_as_usual([40.0], history[:4]).passed
    assert "nothing to check" in drift_as_usual([], history).description
