"""Sortings for tests of checks, from spike times that are known."""

from collections.abc import Mapping

import numpy as np
import spikeinterface.core as si

RATE_HZ = 30_000.0


def sorting_of(times_s: Mapping[str, np.ndarray]) -> si.BaseSorting:
    """A sorting of these spike times in seconds, by unit."""
    samples = {unit: np.round(np.sort(times) * RATE_HZ).astype("int64") for unit, times in times_s.items()}
    return si.NumpySorting.from_unit_dict(samples, RATE_HZ)


def neurons(units: int, duration_s: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Spike times in seconds of neurons of 2 to 20 Hz with a refractory period of 2 ms, by unit."""
    rng = np.random.default_rng(seed)
    trains = {}
    for unit in range(units):
        rate_hz = rng.uniform(2, 20)
        intervals_s = 0.002 + rng.exponential(1 / rate_hz, int(1.3 * rate_hz * duration_s) + 20)
        times_s = np.cumsum(intervals_s)
        trains[f"u{unit}"] = times_s[times_s < duration_s]
    return trains


def bursting(units: int, duration_s: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Spike times in seconds of neurons that burst together every few seconds, as in a culture."""
    rng = np.random.default_rng(seed)
    bursts_s = rng.uniform(0, duration_s, int(0.3 * duration_s))
    trains = {}
    for unit in range(units):
        counts = rng.poisson(3, bursts_s.size)
        times_s = np.concatenate(
            [
                np.repeat(bursts_s, counts) + rng.normal(0, 0.03, counts.sum()),
                rng.uniform(0, duration_s, rng.poisson(duration_s)),
            ]
        )
        trains[f"u{unit}"] = times_s[(times_s >= 0) & (times_s < duration_s)]
    return trains


def empty() -> si.BaseSorting:
    """No units."""
    return si.NumpySorting.from_unit_dict({}, RATE_HZ)


def silent(units: int = 1) -> si.BaseSorting:
    """Units without a spike."""
    return si.NumpySorting.from_unit_dict({f"u{unit}": np.array([], dtype="int64") for unit in range(units)}, RATE_HZ)
