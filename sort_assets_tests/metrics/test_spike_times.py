"""What is counted of spike times is what SpikeInterface counts."""

import numpy as np
import pytest
from spikeinterface.core import NumpySorting, SortingAnalyzer, create_sorting_analyzer, generate_recording
from spikeinterface.metrics.quality.misc_metrics import compute_sliding_rp_violations
from spikeinterface.postprocessing.correlograms import compute_correlograms

from sort_assets.metrics.compiled import keep_compiled
from sort_assets.metrics.sliding_refractory_period import sliding_rp_violations

RATE_HZ = 30_000.0


@pytest.fixture(scope="module")
def analyzer() -> SortingAnalyzer:
    """Units that fire at random, one with a refractory period, one with spikes found twice, one spike, and none."""
    rng = np.random.default_rng(0)
    random = np.sort(rng.integers(0, 600_000, size=(3, 400)), axis=1)
    trains = {
        "random": random[0],
        "busy": np.sort(rng.integers(0, 600_000, size=3000)),
        "refractory": np.arange(20, 600_000, 400),
        "found twice": np.sort(np.concatenate([random[1], random[1][:50]])),
        "at a bin's edge": np.cumsum(np.tile([7, 8, 300, 1500], 200)),
        "one spike": np.array([600]),
        "no spikes": np.zeros(0, dtype=int),
    }
    recording = generate_recording(num_channels=2, durations=[20.0], sampling_frequency=RATE_HZ)
    channels = np.zeros(len(trains), dtype=int)
    sorting = NumpySorting.from_unit_dict(trains, RATE_HZ)
    return create_sorting_analyzer(sorting, recording, sparse=False, main_channel_indices=channels)


@pytest.mark.parametrize("params", [{}, {"min_spikes": 500, "bin_size_ms": 0.5, "max_ref_period_ms": 5}])
def test_sliding_refractory_periods_are_those_of_spikeinterface(
    analyzer: SortingAnalyzer, params: dict[str, float]
) -> None:
    ours = sliding_rp_violations(analyzer, list(analyzer.unit_ids), **params)  # type: ignore[arg-type]

    theirs = compute_sliding_rp_violations(analyzer, list(analyzer.unit_ids), **params)
    assert ours == pytest.approx(theirs, nan_ok=True)
    assert np.isfinite(ours["refractory"])


def test_correlograms_by_the_loop_that_numba_keeps_are_those_of_numpy(analyzer: SortingAnalyzer) -> None:
    keep_compiled()

    ours, _ = compute_correlograms(analyzer.sorting, window_ms=50.0, bin_ms=1.0, method="numba")

    theirs, _ = compute_correlograms(analyzer.sorting, window_ms=50.0, bin_ms=1.0, method="numpy")
    assert np.array_equal(ours, theirs)
