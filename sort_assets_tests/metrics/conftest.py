"""One complete analyzer of the ground truth, in a folder, that all tests of metrics read."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording, SortingAnalyzer

from sort_assets.metrics.analyzers import create_analyzer, cut_waveforms
from sort_assets.metrics.extensions import complete_analyzer

JOB_KWARGS: dict[str, Any] = {"n_jobs": 1, "progress_bar": False}


def make_analyzer(
    sorting: BaseSorting, recording: BaseRecording, folder: Path, *, sparse: bool = True
) -> SortingAnalyzer:
    """With waveforms, templates and noise levels, and nothing else."""
    options = {"sparsity_kwargs": {"method": "radius", "radius_um": 100.0}} if sparse else {}
    analyzer = create_analyzer(sorting, recording, folder, job_kwargs=JOB_KWARGS, seed=0, sparse=sparse, **options)
    cut_waveforms(analyzer, max_spikes_per_unit=100, ms_before=1.0, ms_after=2.0, seed=0, job_kwargs=JOB_KWARGS)
    return analyzer


def without_probe(recording: BaseRecording) -> BaseRecording:
    """The same samples, of channels whose positions are not known."""
    plain = NumpyRecording([recording.get_traces()], recording.sampling_frequency, channel_ids=recording.channel_ids)
    plain.set_channel_gains(recording.get_channel_gains())
    plain.set_channel_offsets(recording.get_channel_offsets())
    return plain


@pytest.fixture(scope="session")
def complete_folder(short: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete analyzer of `short`; never write into it."""
    recording, sorting = short
    folder = tmp_path_factory.mktemp("metrics") / "analyzer"
    assert complete_analyzer(make_analyzer(sorting, recording, folder), job_kwargs=JOB_KWARGS) == {}
    return folder


@pytest.fixture
def analyzer_with(
    complete_folder: Path, short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> Callable[..., SortingAnalyzer]:
    """Loads a copy of the complete analyzer, with its recording or without, and without the named extensions."""

    def load(*, without: tuple[str, ...] = (), recording: bool = True) -> SortingAnalyzer:
        folder = tmp_path / "copy"
        shutil.copytree(complete_folder, folder)
        for name in without:
            shutil.rmtree(folder / "extensions" / name)
        return SortingAnalyzer.load_from_binary_folder(folder, recording=short[0] if recording else None, lazy=True)

    return load
