from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

from sort_assets.config.units import MetricsConfig
from sort_assets.errors import RecordingError
from sort_assets.metrics.epochs import epoch_analyzer
from sort_assets.metrics.extensions import FURTHER_EXTENSIONS
from sort_assets.metrics.unit_metrics import compute_unit_metrics
from sort_assets_tests.metrics.conftest import JOB_KWARGS

START, END = 90000, 210000


def test_an_epoch_holds_the_same_units_with_the_spikes_of_its_time(
    analyzer_with: Callable[..., SortingAnalyzer], short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    whole, (recording, sorting) = analyzer_with(), short

    epoch = epoch_analyzer(whole, START, END, tmp_path / "epoch", job_kwargs=JOB_KWARGS)

    assert epoch.unit_ids.tolist() == whole.unit_ids.tolist()
    assert np.array_equal(epoch.sparsity.mask, whole.sparsity.mask)
    assert np.array_equal(epoch.get_main_channels(), whole.get_main_channels())
    assert all(epoch.has_extension(name) for name in FURTHER_EXTENSIONS)
    for unit in sorting.unit_ids:
        spikes = sorting.get_unit_spike_train(unit)
        expected = spikes[(spikes >= START) & (spikes < END)] - START
        assert epoch.sorting.get_unit_spike_train(unit).tolist() == expected.tolist()
    assert np.array_equal(epoch.recording.get_traces(), recording.get_traces(start_frame=START, end_frame=END))
    templates, expected = (each.get_extension("templates").get_data() for each in (epoch, whole))
    assert templates.shape == expected.shape
    np.testing.assert_allclose(templates, expected, atol=8.0)


def test_metrics_of_an_epoch_are_those_of_its_time_also_of_units_that_are_silent_in_it(
    analyzer_with: Callable[..., SortingAnalyzer], tmp_path: Path
) -> None:
    whole = analyzer_with()
    first = {unit: whole.sorting.get_unit_spike_train(unit)[0] for unit in whole.unit_ids}
    end = sorted(first.values())[4]

    epoch = epoch_analyzer(whole, 0, int(end), tmp_path / "epoch", job_kwargs=JOB_KWARGS)
    table = compute_unit_metrics(epoch, MetricsConfig(skip=("synchrony",)), job_kwargs=JOB_KWARGS).table

    fires = [sample < end for sample in first.values()]
    assert (table["num_spikes"] > 0).tolist() == fires
    assert sum(fires) == 4
    assert table["snr"].notna().tolist() == fires


def test_a_part_that_leaves_the_recording_is_refused(
    analyzer_with: Callable[..., SortingAnalyzer], tmp_path: Path
) -> None:
    whole = analyzer_with()

    for start, end in ((0, 300001), (-1, 10), (10, 10)):
        with pytest.raises(ValueError, match="300000"):
            epoch_analyzer(whole, start, end, tmp_path / "epoch", job_kwargs=JOB_KWARGS)


def test_without_the_recording_no_part_can_be_cut_out(
    analyzer_with: Callable[..., SortingAnalyzer], tmp_path: Path
) -> None:
    with pytest.raises(RecordingError, match="gone"):
        epoch_analyzer(analyzer_with(recording=False), 0, 10, tmp_path / "epoch", job_kwargs=JOB_KWARGS)
