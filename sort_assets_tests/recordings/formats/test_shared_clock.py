import numpy as np
import pytest

from sort_assets.recordings.clock import ClockJump
from sort_assets.recordings.formats.shared_clock import shared_clock

RATE_HZ = 30_000.0
TRUE_HZ = RATE_HZ * (1 - 94e-6)
SAMPLES = 300_000


def test_times_are_those_of_the_timestamps_and_jumps_those_of_the_numbers() -> None:
    numbers = np.arange(SAMPLES) + 5000
    numbers[100_000:] += 1234
    timestamps = 12.5 + numbers / TRUE_HZ

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    assert doubts == []
    assert clock.jumps == (ClockJump(100_000, 1234),)
    assert clock.ppm == pytest.approx(-94, abs=0.1)
    np.testing.assert_allclose(clock.times_s(np.arange(SAMPLES)), timestamps, atol=1e-8, rtol=0)


@pytest.mark.parametrize("missing", [-1.0, np.nan])
def test_a_stream_that_was_synchronized_late_has_the_shared_clock_from_the_beginning(missing: float) -> None:
    numbers = np.arange(SAMPLES)
    true_times = 12.5 + numbers / TRUE_HZ
    timestamps = np.where(numbers < 70_000, missing, true_times)

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    np.testing.assert_allclose(clock.times_s(numbers), true_times, atol=1e-6, rtol=0)
    (doubt,) = doubts
    assert "70000 of 300000 samples have no timestamp" in doubt


@pytest.mark.parametrize("missing", [-1.0, np.nan])
def test_a_stream_that_was_never_synchronized_has_the_clock_of_its_numbers(missing: float) -> None:
    clock, doubts = shared_clock(np.arange(SAMPLES) + 900, np.full(SAMPLES, missing), RATE_HZ)

    assert doubts == []
    assert (clock.source, clock.start_time_s, clock.rate_hz) == ("sample numbers", 0.03, RATE_HZ)


@pytest.mark.parametrize(("present", "is_told"), [(9_000, True), (140_000, True), (220_000, False)])
def test_timestamps_that_end_long_before_the_samples_are_told(present: int, is_told: bool) -> None:
    numbers = np.arange(SAMPLES) + 100
    true_times = 12.5 + numbers / TRUE_HZ

    clock, doubts = shared_clock(numbers, true_times[:present], RATE_HZ)

    np.testing.assert_allclose(clock.times_s(numbers - 100), true_times, atol=0.5 / RATE_HZ, rtol=0)
    assert len(doubts) == is_told
    assert not is_told or f"Only the first {present} of 300000 samples have a timestamp" in doubts[0]


def test_negative_times_are_times() -> None:
    """open-ephys/plugin-GUI#622."""
    numbers = np.arange(SAMPLES)

    clock, doubts = shared_clock(numbers, -500 + numbers / TRUE_HZ, RATE_HZ)

    assert doubts == []
    assert clock.start_time_s == pytest.approx(-500)


def test_a_clock_that_is_set_back_time_and_again_is_not_followed() -> None:
    """open-ephys/plugin-GUI#586: a sawtooth, while no sample is missing."""
    numbers = np.arange(SAMPLES)
    timestamps = 12.5 + numbers % 60_000 / RATE_HZ

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    assert clock.jumps == ()
    assert clock.without_overlaps() == [(0, SAMPLES)]
    (doubt,) = doubts
    assert "The timestamps contradict the numbers" in doubt


def test_numbers_that_begin_anew_while_the_timestamps_go_on_are_not_followed() -> None:
    numbers = np.arange(SAMPLES) + 1_000_000
    timestamps = 12.5 + numbers / TRUE_HZ
    numbers[100_000:] -= numbers[100_000]

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    np.testing.assert_allclose(clock.times_s(np.arange(SAMPLES)), timestamps, atol=0.25 / RATE_HZ, rtol=0)
    (doubt,) = doubts
    assert "The numbers of the samples contradict the timestamps" in doubt


def test_a_shared_clock_that_is_set_right_by_little_is_followed_and_told() -> None:
    numbers = np.arange(SAMPLES)
    timestamps = 12.5 + numbers / TRUE_HZ + np.where(numbers < 123_456, 0, 0.4e-3)

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    np.testing.assert_allclose(clock.times_s(numbers), timestamps, atol=0.5 / RATE_HZ, rtol=0)
    (doubt,) = doubts
    assert "step by up to 0.40 ms in 1 places" in doubt


def test_timestamps_that_jump_and_come_back_between_two_pairs_are_not_followed() -> None:
    numbers = np.arange(SAMPLES)
    timestamps = 12.5 + numbers / TRUE_HZ
    timestamps[20_000:21_000] += 0.075

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    np.testing.assert_allclose(clock.times_s(numbers), 12.5 + numbers / TRUE_HZ, atol=0.25 / RATE_HZ, rtol=0)
    (doubt,) = doubts
    assert "1000 of 300000 timestamps contradict the others" in doubt


def test_a_rate_that_wanders_is_followed() -> None:
    numbers = np.arange(3 * SAMPLES)
    wander_s = 2e-4 * np.sin(numbers / SAMPLES)
    timestamps = 12.5 + numbers / TRUE_HZ + wander_s

    clock, doubts = shared_clock(numbers, timestamps, RATE_HZ)

    assert doubts == []
    assert clock.jumps == ()
    np.testing.assert_allclose(clock.times_s(numbers), timestamps, atol=0.5 / RATE_HZ, rtol=0)
