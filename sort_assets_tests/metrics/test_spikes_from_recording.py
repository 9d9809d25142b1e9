"""One pass over the recording gives what SpikeInterface gives in several."""

from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import (
    BaseRecording,
    BaseSorting,
    NumpyRecording,
    NumpySorting,
    SortingAnalyzer,
    create_sorting_analyzer,
)

from sort_assets.metrics.analyzers import create_analyzer, cut_waveforms

NUM_SAMPLES = 20_000
EXTENSIONS = ("waveforms", "templates", "spike_amplitudes", "spike_locations")


def excerpt(recording: BaseRecording, dtype: str) -> BaseRecording:
    """Two thirds of a second of a recording, in counts of a quarter of a microvolt or in microvolts as they are."""
    gain = 0.25 if dtype == "int16" else 1.0
    counts = (recording.get_traces(end_frame=NUM_SAMPLES, return_in_uV=True) / gain).round().astype(dtype)
    one = NumpyRecording([counts], recording.sampling_frequency, channel_ids=recording.channel_ids)
    one.set_channel_gains(gain)
    one.set_channel_offsets(0.0)
    one.set_probegroup(recording.get_probegroup())
    return one


def edge_cases(sorting: BaseSorting) -> BaseSorting:
    """Real units, and such without spikes, with one spike, with spikes at both ends, and with late and early peaks."""
    trains = {unit: sorting.get_unit_spike_train(unit) for unit in sorting.unit_ids[:3]}
    trains = {unit: train[train < NUM_SAMPLES] for unit, train in trains.items()}
    first = trains[sorting.unit_ids[0]]
    trains |= {
        "no spikes": np.zeros(0, dtype=int),
        "one spike": np.array([777]),
        "at both ends": np.array([0, 1, 14, 16, 31, NUM_SAMPLES - 31, NUM_SAMPLES - 2, NUM_SAMPLES - 1]),
        "late peak": first[first > 20] - 20,
        # Its first spikes, from which the place of the peak is foretold, are noise.
        "peak known late": np.concatenate([np.arange(500, 4000, 160), first[first > 4200] - 25]),
        "early peak": first[first < NUM_SAMPLES - 20] + 20,
    }
    units = {str(unit): train for unit, train in trains.items()}
    return NumpySorting.from_unit_dict(units, sorting.sampling_frequency)


def in_one_pass(
    sorting: BaseSorting, recording: BaseRecording, folder: Path, *, n_jobs: int = 1, chunk_s: float = 1.0
) -> SortingAnalyzer:
    """Cut out by us."""
    job_kwargs = {"n_jobs": n_jobs, "chunk_duration": chunk_s, "progress_bar": False}
    analyzer = create_analyzer(sorting, recording, folder, job_kwargs=job_kwargs, seed=0, sparse=True)
    cut_waveforms(analyzer, max_spikes_per_unit=40, ms_before=1.0, ms_after=2.0, seed=0, job_kwargs=job_kwargs)
    return analyzer


def by_spikeinterface(sorting: BaseSorting, recording: BaseRecording) -> SortingAnalyzer:
    """Cut out by SpikeInterface alone."""
    analyzer = create_sorting_analyzer(sorting, recording, seed=0, sparse=True)
    analyzer.compute("random_spikes", max_spikes_per_unit=40, seed=0)
    analyzer.compute(list(EXTENSIONS), n_jobs=1, progress_bar=False)
    return analyzer


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_results_are_those_of_spikeinterface(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path, dtype: str
) -> None:
    """Of units with many spikes, one, none, and spikes whose windows reach over the ends of the recording."""
    recording, sorting = excerpt(short[0], dtype), edge_cases(short[1])

    ours = in_one_pass(sorting, recording, tmp_path / "ours")

    theirs = by_spikeinterface(sorting, recording)
    assert ours.get_main_channels(outputs="index").tolist() == theirs.get_main_channels(outputs="index").tolist()
    assert np.array_equal(ours.sparsity.mask, theirs.sparsity.mask)
    for name in EXTENSIONS:
        assert ours.get_extension(name).params == theirs.get_extension(name).params
    for name in ("waveforms", "spike_amplitudes"):
        mine, reference = (np.asarray(each.get_extension(name).get_data()) for each in (ours, theirs))
        assert mine.dtype == reference.dtype
        assert np.array_equal(mine, reference)
    mine, reference = (each.get_extension("templates").data for each in (ours, theirs))
    assert np.array_equal(mine["average"], reference["average"])
    assert np.allclose(mine["std"], reference["std"], rtol=1e-4, atol=1e-3)
    for axis in ("x", "y"):
        mine, reference = (each.get_extension("spike_locations").get_data()[axis] for each in (ours, theirs))
        assert np.allclose(mine, reference, rtol=1e-5, atol=1e-3)


def test_results_do_not_depend_on_threads_and_batches(short: tuple[BaseRecording, BaseSorting], tmp_path: Path) -> None:
    """To the last bit, also where a batch ends within the windows of spikes."""
    recording, sorting = excerpt(short[0], "int16"), edge_cases(short[1])
    one = in_one_pass(sorting, recording, tmp_path / "one")

    other = in_one_pass(sorting, recording, tmp_path / "other", n_jobs=3, chunk_s=0.0071)

    for path in sorted((tmp_path / "one").rglob("*.npy")):
        other_path = tmp_path / "other" / path.relative_to(tmp_path / "one")
        assert np.array_equal(*(np.load(each, allow_pickle=False) for each in (path, other_path)), equal_nan=False), (
            path
        )
    assert one.get_saved_extension_names() == other.get_saved_extension_names()


@pytest.mark.parametrize("units", [{}, {"silent": np.zeros(0, dtype=int)}], ids=["no units", "no spikes"])
def test_without_spikes_there_are_empty_waveforms(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path, units: dict[str, np.ndarray]
) -> None:
    """SpikeInterface makes them, as it did."""
    recording = excerpt(short[0], "int16")
    job_kwargs = {"n_jobs": 1, "progress_bar": False}

    analyzer = create_analyzer(
        NumpySorting.from_unit_dict(units, recording.sampling_frequency),
        recording,
        tmp_path / "analyzer",
        job_kwargs=job_kwargs,
        seed=0,
        sparse=len(units) > 0,
    )
    cut_waveforms(analyzer, max_spikes_per_unit=40, ms_before=1.0, ms_after=2.0, seed=0, job_kwargs=job_kwargs)

    assert len(analyzer.get_extension("waveforms").get_data()) == 0
    assert len(analyzer.get_extension("templates").get_data()) == len(units)
