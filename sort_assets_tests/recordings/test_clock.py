"""Clocks from numbers and timestamps: whatever is wrong with them, each sample has its own time, or there is none."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from sort_assets.recordings import clock as clock_module
from sort_assets.recordings.clock import (
    BrokenClockError,
    Clock,
    ClockJump,
    ClockPiece,
    clock_from_start,
    join_clocks,
)
from sort_assets.recordings.sample_numbers import clock_from_numbers
from sort_assets.recordings.timestamps import clock_from_timestamps, usual_rate_hz

RATE_HZ = 30_000.0
SAMPLES = 100_000
CHUNK_SAMPLES = 30_000
EPOCH_S = 1_700_000_000.25
SEEDS = [*range(50), *(pytest.param(seed, marks=[pytest.mark.slow, pytest.mark.release]) for seed in range(50, 200))]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording takes several chunks, and jumps lie near their borders now and then."""
    monkeypatch.setattr(clock_module, "CHUNK_SAMPLES", CHUNK_SAMPLES)


@dataclass(frozen=True)
class Fault:
    """Numbers of samples with jumps at random places, and the rate at which they come."""

    numbers: np.ndarray
    jumps: tuple[ClockJump, ...]
    rate_hz: float
    start_s: float


def make_fault(seed: int) -> Fault:
    """None to four jumps, each a gap, a step back or a single number too many or too few."""
    rng = np.random.default_rng(seed)
    border = rng.choice([CHUNK_SAMPLES - 1, CHUNK_SAMPLES, CHUNK_SAMPLES + 1, 2 * CHUNK_SAMPLES, SAMPLES - 1])
    places = np.unique([*rng.integers(1, SAMPLES, rng.integers(0, 4)), *[border] * rng.integers(0, 2)])
    steps = np.ones(SAMPLES, np.int64)
    jumps = []
    for place in places.tolist():
        size = int(rng.choice([-2, -1, 1, *rng.integers(-90_000, -1, 2), *rng.integers(1, 10_000_000, 3)]))
        steps[place] += size
        jumps.append(ClockJump(place, size))
    steps[0] = rng.integers(-30_000, 10**9)
    start_s = float(rng.choice([0.0, 12.5, EPOCH_S]))
    return Fault(np.cumsum(steps), tuple(jumps), RATE_HZ * (1 + rng.uniform(-100, 100) * 1e-6), start_s)


@pytest.mark.parametrize("seed", SEEDS)
def test_jumps_of_numbers_are_found_exactly(seed: int) -> None:
    fault = make_fault(seed)

    clock = clock_from_numbers(fault.numbers, RATE_HZ)

    assert clock.jumps == fault.jumps
    np.testing.assert_allclose(clock.times_s(np.arange(SAMPLES)), fault.numbers / RATE_HZ, atol=1e-6, rtol=0)
    if clock.is_ascending:
        chosen = np.arange(0, SAMPLES, 997)
        np.testing.assert_array_equal(clock.samples(clock.times_s(chosen)), chosen)


@pytest.mark.parametrize("seed", SEEDS)
def test_jumps_of_timestamps_are_found_exactly_whatever_their_rate(seed: int) -> None:
    fault = make_fault(seed)
    timestamps = fault.start_s + fault.numbers / fault.rate_hz

    clock = clock_from_timestamps(timestamps, RATE_HZ)

    assert [jump.sample for jump in clock.jumps] == [jump.sample for jump in fault.jumps]
    for found, made in zip(clock.jumps, fault.jumps, strict=True):
        assert found.samples == pytest.approx(made.samples, rel=2e-4, abs=0.5)
    np.testing.assert_allclose(clock.times_s(np.arange(SAMPLES)), timestamps, atol=0.1 / RATE_HZ, rtol=0)
    pieces = [piece for piece in clock.pieces if piece.end_sample - piece.start_sample > 30_000]
    assert all(abs(piece.rate_hz / fault.rate_hz - 1) < 2e-6 for piece in pieces)


@pytest.mark.parametrize(("kind", "first"), [("int32", 2**31 - 1000), ("uint32", 2**32 - 1000)])
def test_a_counter_that_wraps_goes_on(kind: str, first: int) -> None:
    numbers = (np.arange(3000, dtype=np.int64) + first).astype("uint32").view(kind)

    clock = clock_from_numbers(numbers, RATE_HZ)

    assert clock.jumps == ()
    assert len(clock.pieces) == 1


def test_a_counter_that_wraps_and_jumps_later() -> None:
    numbers = np.arange(3000, dtype=np.int64) + 2**31 - 1000
    numbers[2000:] += 77

    clock = clock_from_numbers(numbers.astype("uint32").view("int32"), RATE_HZ)

    assert clock.jumps == (ClockJump(2000, 77),)


@pytest.mark.parametrize("missing", [77, -77])
def test_a_counter_that_wraps_and_jumps_at_once(missing: int) -> None:
    numbers = np.arange(3000, dtype=np.int64) + 2**31 - 1000
    numbers[1000:] += missing

    clock = clock_from_numbers(numbers.astype("uint32").view("int32"), RATE_HZ)

    assert clock.jumps == (ClockJump(1000, missing),)


def test_blocks_of_numbers_are_one_row() -> None:
    numbers = np.arange(12_800).reshape(-1, 128)

    assert clock_from_numbers(numbers, RATE_HZ).pieces == (ClockPiece(0, 12_800, 0.0, RATE_HZ),)


def test_a_clock_whose_rate_changes_is_followed_without_a_jump() -> None:
    samples = np.arange(SAMPLES)
    slow = samples / RATE_HZ * (1 + 50e-6)
    middle = SAMPLES // 2
    timestamps = np.where(samples < middle, slow, slow[middle] + (samples - middle) / RATE_HZ * (1 - 180e-6))

    clock = clock_from_timestamps(timestamps, RATE_HZ)

    assert clock.jumps == ()
    np.testing.assert_allclose(clock.times_s(samples), timestamps, atol=0.5 / RATE_HZ, rtol=0)


def test_timestamps_that_jitter_by_less_than_a_quarter_of_a_sample_make_one_piece() -> None:
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, SAMPLES) / RATE_HZ

    clock = clock_from_timestamps(np.arange(SAMPLES) / RATE_HZ + jitter, RATE_HZ)

    assert len(clock.pieces) == 1
    assert abs(clock.ppm) < 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_timestamps_that_are_no_numbers_make_no_clock(bad: float) -> None:
    timestamps = np.arange(SAMPLES) / RATE_HZ
    timestamps[76_543] = bad

    with pytest.raises(BrokenClockError, match="76543"):
        clock_from_timestamps(timestamps, RATE_HZ)


def test_what_jumps_all_the_time_makes_no_clock() -> None:
    with pytest.raises(BrokenClockError, match="10000 times"):
        clock_from_numbers(np.arange(SAMPLES) * 2, RATE_HZ)
    with pytest.raises(BrokenClockError, match="10000 times"):
        clock_from_timestamps(np.arange(SAMPLES) * 2 / RATE_HZ, RATE_HZ)
    with pytest.raises(BrokenClockError, match="all timestamps are the same"):
        clock_from_timestamps(np.full(SAMPLES, 12.5), RATE_HZ)


@dataclass(frozen=True)
class Jitter:
    """Timestamps that differ from the true times, and those."""

    timestamps: np.ndarray
    times_s: np.ndarray
    gap: ClockJump | None


JITTERS = ("normal", "ms", "tenth of a ms", "packets", "late packets", "packets of their own rate", "float32")


def make_jitter(seed: int, kind: str) -> Jitter:
    """A gap of a second or none, an oscillator that is up to 100 ppm off, and timestamps that are not exact."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(3 * SAMPLES)
    place = int(rng.integers(SAMPLES, 2 * SAMPLES))
    packet = int(rng.choice([128, 256, 1024]))
    if "packets" in kind:
        place -= place % packet
    gap = ClockJump(place, 30_000) if seed % 2 else None
    if gap:
        numbers[place:] += gap.samples
    start_s = 0.0 if kind == "float32" else float(rng.choice([0.0, 12.5, EPOCH_S]))
    times_s = start_s + numbers / (RATE_HZ * (1 + rng.uniform(-100, 100) * 1e-6))
    packets = np.arange(len(numbers)) // packet
    if kind == "normal":
        timestamps = times_s + rng.normal(0, rng.uniform(0.1, 2), len(numbers)) / RATE_HZ
    elif kind in ("ms", "tenth of a ms"):
        per_s = 1000 if kind == "ms" else 10_000
        timestamps = np.floor(times_s * per_s) / per_s
    elif kind == "float32":
        timestamps = times_s.astype(np.float32)
    elif kind == "packets of their own rate":
        timestamps = times_s + rng.normal(0, 3, packets[-1] + 1)[packets] / RATE_HZ
    else:
        late_s = (
            np.abs(rng.normal(0, 15, packets[-1] + 1)) / RATE_HZ
            if kind == "late packets"
            else np.zeros(packets[-1] + 1)
        )
        timestamps = (times_s[::packet] + late_s)[packets]
    return Jitter(timestamps, times_s, gap)


@pytest.mark.parametrize("kind", JITTERS)
@pytest.mark.parametrize("seed", range(10))
def test_timestamps_that_are_not_exact_are_fitted_within_what_the_clock_says_of_itself(seed: int, kind: str) -> None:
    made = make_jitter(seed, kind)

    clock = clock_from_timestamps(made.timestamps, RATE_HZ)

    off_s = np.abs(clock.times_s(np.arange(len(made.times_s))) - made.times_s)
    long = [jump for jump in clock.jumps if jump.samples > 1000]
    assert len(long) == (made.gap is not None)
    if made.gap:
        near = np.abs(np.arange(len(off_s)) - made.gap.sample) < 32
        assert abs(long[0].sample - made.gap.sample) < 32
        off_s = off_s[~near]
    assert off_s.max() <= max(clock.uncertainty_s, 1 / RATE_HZ)
    assert not [jump for jump in clock.jumps if jump.samples < 0]
    assert usual_rate_hz(made.timestamps) == pytest.approx(RATE_HZ, rel=3e-4)


def test_a_short_gap_is_found_in_jitter_that_is_longer() -> None:
    rng = np.random.default_rng(3)
    numbers = np.arange(3 * SAMPLES)
    numbers[123_456:] += 12

    clock = clock_from_timestamps((numbers + rng.normal(0, 8, len(numbers))) / RATE_HZ, RATE_HZ)

    assert [jump.samples for jump in clock.jumps] == [12]
    assert abs(clock.jumps[0].sample - 123_456) < 10


@pytest.mark.parametrize("samples", [1, 128])
@pytest.mark.parametrize("wrong", [2**27, -30_000, 100])
def test_corrupt_numbers_do_not_move_the_samples_after_them(wrong: int, samples: int) -> None:
    numbers = np.arange(SAMPLES)
    numbers[50_000 : 50_000 + samples] += wrong

    from_numbers = clock_from_numbers(numbers, RATE_HZ)
    from_timestamps = clock_from_timestamps(EPOCH_S + numbers / RATE_HZ, RATE_HZ)

    assert from_numbers.pieces == (ClockPiece(0, SAMPLES, 0.0, RATE_HZ),)
    assert from_timestamps.jumps == ()
    assert from_numbers.corrupt_samples == from_timestamps.corrupt_samples == samples
    np.testing.assert_allclose(
        from_timestamps.times_s(np.arange(SAMPLES)), EPOCH_S + np.arange(SAMPLES) / RATE_HZ, atol=0.1 / RATE_HZ, rtol=0
    )


def test_a_small_step_forth_and_back_stays_as_it_is() -> None:
    numbers = np.arange(SAMPLES)
    numbers[50_000:50_100] += 7

    assert clock_from_numbers(numbers, RATE_HZ).jumps == (ClockJump(50_000, 7), ClockJump(50_100, -7))


def test_numbers_that_stand_still_for_a_while_are_corrupt() -> None:
    numbers = np.arange(SAMPLES)
    numbers[70_000:70_128] = 0

    clock = clock_from_numbers(numbers, RATE_HZ)

    assert clock.pieces == (ClockPiece(0, SAMPLES, 0.0, RATE_HZ),)
    assert clock.corrupt_samples == 128


@pytest.mark.parametrize("start", [0, 60_000, SAMPLES - 300])
@pytest.mark.parametrize("kind", ["standing still", "any"])
def test_corrupt_numbers_are_those_of_their_neighbours_anywhere(kind: str, start: int) -> None:
    numbers = np.arange(SAMPLES) + 5000
    place = slice(start, start + 300)
    any_numbers = np.random.default_rng(1).integers(0, 2**30, 300)
    numbers[place] = any_numbers if kind == "any" else numbers[max(start - 1, 0)]

    clock = clock_from_numbers(numbers, RATE_HZ)

    np.testing.assert_allclose(clock.times_s(np.arange(SAMPLES)) * RATE_HZ, np.arange(SAMPLES) + 5000, atol=0.01)
    assert clock.corrupt_samples == pytest.approx(300, abs=1)


@pytest.mark.parametrize("end", [80_000, SAMPLES])
def test_timestamps_that_stand_still_for_most_of_a_recording_make_no_clock(end: int) -> None:
    timestamps = EPOCH_S + np.arange(SAMPLES) / RATE_HZ
    timestamps[12_345:end] = 0.0

    with pytest.raises(BrokenClockError, match=f"{end - 12_345} samples from sample 12345 on"):
        clock_from_timestamps(timestamps, RATE_HZ)


@pytest.mark.parametrize("place", [60, 70_000])
def test_a_gap_in_a_packet_is_seen_in_the_next_one(place: int) -> None:
    numbers = np.arange(SAMPLES)
    numbers[place:] += 40_000
    timestamps = numbers[numbers.searchsorted(numbers) // 128 * 128] / RATE_HZ

    clock = clock_from_timestamps(timestamps, RATE_HZ)

    (jump,) = clock.jumps
    assert 0 <= jump.sample - place < 128
    assert jump.samples == pytest.approx(40_000, abs=1)


def test_corrupt_numbers_are_those_of_the_part_that_is_left() -> None:
    numbers = np.arange(SAMPLES)
    numbers[1000:1003] = 0
    numbers[70_000:70_128] = 0
    clock = Clock.from_dict(clock_from_numbers(numbers, RATE_HZ).to_dict())

    parts = [clock.cut(0, 50_000), clock.cut(50_000, SAMPLES), clock.cut(2000, 70_000), clock.cut(70_100, SAMPLES)]

    assert [part.corrupt_samples for part in parts] == [3, 128, 0, 28]
    assert join_clocks(parts[:2]).corrupt == clock.corrupt
    assert "corrupt" not in parts[2].to_dict()  # as before, so that data versions stay


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ([(0, 1000), (1000, 2000)], [(0, 2000)]),
        ([(0, 1000), (1500, 2000)], [(0, 1500)]),
        ([(0, 1000), (800, 2000)], [(0, 1000), (1200, 2200)]),
        ([(0, 1000), (300, 900), (900, 2000)], [(0, 1000), (1700, 2700)]),
        ([(0, 1000), (990, 2000)], [(0, 2010)]),  # too few to be an overlap
        ([(0, 9), (11, 2000)], [(0, 1998)]),
        ([(0, 200), (20, 2000)], [(0, 200), (380, 2180)]),
        ([(5000, 5100), (0, 2000)], [(100, 2100)]),  # of an earlier run
        ([(5000, 7000), (0, 100)], [(0, 2000)]),
    ],
    ids=[
        "one",
        "gap",
        "overlap",
        "two overlaps",
        "jitter",
        "gap at the start",
        "overlap of nearly all",
        "leftover",
        "leftover at the end",
    ],
)
def test_each_moment_is_taken_once(numbers: list[tuple[int, int]], kept: list[tuple[int, int]]) -> None:
    clock = clock_from_numbers(np.concatenate([np.arange(*each) for each in numbers]), RATE_HZ)

    assert clock.without_overlaps(are_same=True) == kept


@pytest.mark.parametrize("numbers", [[(100_000, 160_000), (0, 40_000)], [(0, 30_000), (0, 30_000)], [(0, 1000)] * 10])
def test_a_clock_that_starts_again_leaves_no_sample_out(numbers: list[tuple[int, int]]) -> None:
    clock = clock_from_numbers(np.concatenate([np.arange(*each) for each in numbers]), RATE_HZ)

    assert clock.without_overlaps() == [(0, clock.num_samples)]
    assert not clock.is_ascending


def test_a_run_of_zeros_is_read_as_quickly_as_any_other() -> None:
    numbers = np.arange(SAMPLES)
    numbers[20_000:29_000] = 0
    started = time.process_time()

    clock = clock_from_numbers(numbers, RATE_HZ)

    assert time.process_time() - started < 5
    assert clock.pieces == (ClockPiece(0, SAMPLES, 0.0, RATE_HZ),)


@pytest.mark.parametrize("samples", [64, 512, 2000])
@pytest.mark.parametrize("step", [1.04, 1.4, 1.9, 0.6])
def test_timestamps_interpolated_over_a_loss_are_a_jump(step: float, samples: int) -> None:
    steps = np.ones(SAMPLES)
    steps[40_100 : 40_100 + samples] = step
    timestamps = EPOCH_S + np.cumsum(steps) / (RATE_HZ * (1 + 40e-6))

    clock = clock_from_timestamps(timestamps, RATE_HZ)

    missing = sum(jump.samples for jump in clock.jumps)
    assert missing == pytest.approx(samples * (step - 1), abs=max(2, 0.12 * samples * abs(step - 1)))
    outside = np.r_[0:38_900, 41_300 + samples : SAMPLES]
    np.testing.assert_allclose(clock.times_s(outside), timestamps[outside], atol=0.5 / RATE_HZ, rtol=0)


@pytest.mark.parametrize("glitches", [10, 60, 400])
def test_glitches_hide_no_gap(glitches: int) -> None:
    rng = np.random.default_rng(glitches)
    numbers = np.arange(3 * SAMPLES)
    numbers[123_456:] += 150
    timestamps = numbers / RATE_HZ
    places = rng.choice(np.arange(5, 3 * SAMPLES - 5, 20), glitches, replace=False)
    timestamps[places] += rng.uniform(-1, 1, glitches)

    clock = clock_from_timestamps(timestamps, RATE_HZ)

    np.testing.assert_allclose(clock.times_s(np.arange(3 * SAMPLES)), numbers / RATE_HZ, atol=0.6 / RATE_HZ, rtol=0)
    assert clock.jumps == (ClockJump(123_456, 150),)
    assert clock.corrupt_samples == pytest.approx(glitches, abs=3)


@pytest.mark.parametrize("samples", [100, 2000])
def test_a_burst_of_random_timestamps_is_corrupt(samples: int) -> None:
    timestamps = np.arange(3 * SAMPLES) / RATE_HZ
    timestamps[100_000 : 100_000 + samples] = np.random.default_rng(samples).uniform(0, 1e4, samples)

    clock = clock_from_timestamps(timestamps, RATE_HZ)

    np.testing.assert_allclose(
        clock.times_s(np.arange(3 * SAMPLES)), np.arange(3 * SAMPLES) / RATE_HZ, atol=0.5 / RATE_HZ, rtol=0
    )
    assert clock.corrupt_samples == pytest.approx(samples, abs=3)


@pytest.mark.parametrize(("trial", "pause"), [(9000, 6000), (1500, 30_000), (400, 20)])
def test_the_usual_rate_does_not_count_the_pauses_between_trials(trial: int, pause: int) -> None:
    numbers = np.arange(3 * SAMPLES)
    numbers += numbers // trial * pause

    assert usual_rate_hz(EPOCH_S + numbers / 29_999.3) == pytest.approx(29_999.3, rel=2e-6)


def test_parts_and_concatenations_keep_the_times() -> None:
    numbers = np.arange(1000)
    numbers[600:] += 5000
    clock = clock_from_numbers(numbers, RATE_HZ)
    two = join_clocks([clock, clock_from_start(500, RATE_HZ, 3.0)])

    part = clock.cut(500, 700)

    np.testing.assert_allclose(part.times_s(np.arange(200)), numbers[500:700] / RATE_HZ)
    assert part.jumps == (ClockJump(100, 5000),)
    np.testing.assert_allclose(two.times_s([999, 1000, 1499]), [5999 / RATE_HZ, 3.0, 3.0 + 499 / RATE_HZ])
    assert Clock.from_dict(two.to_dict()) == two
