"""Which spikes give their waveforms to the templates."""

from pathlib import Path

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, SortingAnalyzer

from sort_assets.metrics.analyzers import create_analyzer, cut_waveforms
from sort_assets.recordings.joins import at_join
from sort_assets_tests.metrics.conftest import JOB_KWARGS

JOIN = 150_000


def test_spikes_at_joins_are_not_in_the_templates_unless_a_unit_has_no_others(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    recording, truth = short
    trains = {
        "usual": np.sort(np.append(truth.get_unit_spike_train(truth.unit_ids[0]), [JOIN - 40, JOIN + 10])),
        "only there": np.array([JOIN - 5]),
    }
    sorting = NumpySorting.from_unit_dict([trains], recording.sampling_frequency)
    analyzer = create_analyzer(sorting, recording, tmp_path / "analyzer", job_kwargs=JOB_KWARGS, seed=0, sparse=False)

    cut_waveforms(
        analyzer,
        max_spikes_per_unit=10_000,
        ms_before=1.0,
        ms_after=2.0,
        seed=0,
        job_kwargs=JOB_KWARGS,
        joins=(JOIN,),
    )

    loaded = SortingAnalyzer.load_from_binary_folder(tmp_path / "analyzer", recording=recording)
    spikes = loaded.sorting.to_spike_vector()
    left_out = np.setdiff1d(np.arange(len(spikes)), loaded.get_extension("random_spikes").get_data())
    expected = at_join(spikes["sample_index"], [JOIN], 30, 60) & (spikes["unit_index"] == 0)
    np.testing.assert_array_equal(left_out, np.flatnonzero(expected))
    assert expected.sum() >= 2
    assert len(loaded.get_extension("waveforms").get_data()) == len(spikes) - expected.sum()
