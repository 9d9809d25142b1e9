"""A sorting with known mistakes in it, its analyzer and its metrics."""

from dataclasses import dataclass

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.preprocessing import bandpass_filter

from sort_assets.config import MetricsConfig
from sort_assets.metrics.compiled import keep_compiled
from sort_assets.metrics.extensions import complete_analyzer
from sort_assets.metrics.unit_metrics import UnitMetrics, compute_unit_metrics

JOBS = {"n_jobs": 1, "progress_bar": False}
# Synchrony compiles anew for each length of unit ids, which takes 8 s.
METRICS = MetricsConfig(skip=("synchrony",))
NOISE, DUPLICATE, CONTAMINATED, FEW = "noise", "duplicate", "contaminated", "few"


@dataclass(frozen=True)
class Planted:
    """The ground truth and what was planted into it.

    Attributes
    ----------
    analyzer : SortingAnalyzer
        Complete, in memory.
    metrics : UnitMetrics
    good : list of str
        The units of the ground truth.
    duplicated : str
        The unit of which `DUPLICATE` has nine tenths of the spikes.
    """

    analyzer: si.SortingAnalyzer
    metrics: UnitMetrics
    good: list[str]
    duplicated: str


def analyzer_of(sorting: si.BaseSorting, recording: si.BaseRecording) -> si.SortingAnalyzer:
    """A complete analyzer in memory."""
    keep_compiled()
    analyzer = si.create_sorting_analyzer(
        sorting, recording, sparse=True, sparsity_kwargs={"method": "radius", "radius_um": 100.0}, job_kwargs=JOBS
    )
    analyzer.compute({"random_spikes": {"seed": 0}, "waveforms": {}, "templates": {}, "noise_levels": {}}, **JOBS)
    complete_analyzer(analyzer, job_kwargs=JOBS)
    return analyzer


@pytest.fixture(scope="session")
def planted(short: tuple[si.BaseRecording, si.BaseSorting]) -> Planted:
    """The ground truth with a unit of random times, a duplicate, a contaminated unit and one of 20 spikes."""
    recording, truth = short
    rng = np.random.default_rng(7)
    trains = {str(unit): truth.get_unit_spike_train(unit) for unit in truth.unit_ids}
    good = list(trains)
    first, second, third = good[:3]
    samples = recording.get_num_samples()
    trains[NOISE] = np.sort(rng.choice(np.arange(100, samples - 200), 300, replace=False))
    trains[DUPLICATE] = trains[first][rng.random(len(trains[first])) > 0.1]
    strangers = np.sort(rng.choice(np.arange(100, samples - 200), len(trains[second]) // 2, replace=False))
    trains[CONTAMINATED] = np.unique(np.r_[trains[second][::2], strangers])
    trains[FEW] = np.sort(rng.choice(trains[third], 20, replace=False))
    sorting = si.NumpySorting.from_unit_dict([trains], truth.sampling_frequency)
    analyzer = analyzer_of(sorting, bandpass_filter(recording))
    return Planted(analyzer, compute_unit_metrics(analyzer, METRICS, job_kwargs=JOBS), good, first)


@pytest.fixture(scope="session")
def halved(ground_truth: tuple[si.BaseRecording, si.BaseSorting]) -> tuple[si.SortingAnalyzer, UnitMetrics]:
    """The spikes of one unit at random in the units 0 and 1, the whole unit 2, and 10 random spikes in unit 3."""
    recording, truth = ground_truth
    train = truth.get_unit_spike_train("1")
    is_first = np.random.default_rng(2).random(len(train)) < 0.5
    trains = {0: train[is_first], 1: train[~is_first], 2: truth.get_unit_spike_train("3"), 3: np.arange(1, 11) * 5000}
    sorting = si.NumpySorting.from_unit_dict([trains], truth.sampling_frequency)
    analyzer = analyzer_of(sorting, bandpass_filter(recording))
    return analyzer, compute_unit_metrics(analyzer, METRICS, job_kwargs=JOBS)
