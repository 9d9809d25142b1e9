"""A generated sorting, and known edits of it."""

from collections.abc import Callable

import numpy as np
import pytest
from spikeinterface.core import BaseSorting, NumpySorting, generate_sorting

SAMPLING_HZ = 30_000.0
DURATION_S = 60.0
Trains = dict[int | str, np.ndarray]


def sorting_of(trains: Trains) -> BaseSorting:
    """A sorting of one segment."""
    return NumpySorting.from_unit_dict([trains], SAMPLING_HZ)


@pytest.fixture(scope="session")
def trains() -> Trains:
    """Twelve units of 1 to 20 Hz for a minute: the spikes of each, in samples."""
    rates = np.linspace(1, 20, 12)
    made = generate_sorting(
        num_units=12, sampling_frequency=SAMPLING_HZ, durations=[DURATION_S], firing_rates=rates.tolist(), seed=3
    )
    return {int(index): made.get_unit_spike_train(unit, 0) for index, unit in enumerate(made.unit_ids)}


@pytest.fixture
def jittered() -> Callable[[Trains, int], Trains]:
    """Spikes that were placed up to so many samples earlier or later."""

    def jitter(trains: Trains, samples: int) -> Trains:
        rng = np.random.default_rng(samples)
        last = int(DURATION_S * SAMPLING_HZ) - 1
        return {
            unit: np.sort((train + rng.integers(-samples, samples + 1, len(train))).clip(0, last))
            for unit, train in trains.items()
        }

    return jitter
