"""What belongs together stays together: nobody reads a file that his input was not made from, or spoils it."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.store.handles import StoredAnalyzer, StoredBinary, StoredRecording, StoredSorting
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import IN_PROCESS, SORT, Home, cheap
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.recordings.writers import write_spikeinterface_binary

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("lineage")]

START_S = 3.0
FROM_START_S = {**IN_PROCESS, "recording": {"start_s": START_S}}


@pytest.fixture(scope="module")
def cut(module_home: Home, short: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The key of a recording that begins at 100 s, of which all from its second 3 on was sorted."""
    recording, _ = short
    file = write_nwb(recording, tmp_path_factory.mktemp("late") / "late.nwb", starting_time_s=100.0)
    key = module_home.register(module_home.link(file, "late.nwb"))
    assert module_home.materialize(key, config=FROM_START_S).success
    return key


def test_spike_times_begin_where_the_recording_does(
    module_home: Home, cut: str, short: tuple[BaseRecording, BaseSorting]
) -> None:
    _, truth = short
    sorting = StoredSorting(module_home.roots, cut).load()

    found_s = np.sort(np.concatenate([sorting.get_unit_spike_train(u, return_times=True) for u in sorting.unit_ids]))
    true_s = np.sort(np.concatenate([truth.get_unit_spike_train(u) for u in truth.unit_ids])) / 30_000 + 100.0

    true_s = true_s[true_s > 100.0 + START_S + 0.01]
    nearest = np.abs(found_s[:, None] - true_s[None, :]).min(axis=1)
    assert found_s.min() > 100.0 + START_S
    assert (nearest < 0.001).mean() > 0.9


@pytest.mark.release
def test_waveforms_are_cut_from_the_file_that_was_sorted_though_there_is_a_newer_one(
    module_home: Home, cut: str
) -> None:
    home = module_home
    sorted_from = StoredSorting(home.roots, cut).binary_dat.version
    before = home.store.artefact(cut, "waveforms").manifest
    assert home.materialize(cut, "preprocessed_recording", "binary_dat").success

    assert home.materialize(cut, "waveforms").success

    after = home.store.artefact(cut, "waveforms").manifest
    assert home.store.artefact(cut, "binary_dat").manifest.version != sorted_from
    assert after.version != before.version
    assert after.data_version == before.data_version
    assert StoredAnalyzer(home.roots, cut).load().recording.get_num_samples() == 7 * 30_000
    assert after.config["recording"]["start_s"] == START_S
    assert after.config_sources["recording.start_s"] == "run config"  # of the run that preprocessed it


def test_what_an_analyst_computes_leaves_the_published_analyzer_as_it_was(module_home: Home, cut: str) -> None:
    handle = StoredAnalyzer(module_home.roots, cut)
    before = {path: path.read_bytes() for path in handle.path.rglob("*") if path.is_file()}

    analyzer = handle.load()
    analyzer.compute("random_spikes", max_spikes_per_unit=5)
    analyzer.compute("waveforms", ms_before=0.5)

    assert analyzer.get_extension("waveforms").get_data().shape[0] <= 5 * len(analyzer.unit_ids)
    assert {path: path.read_bytes() for path in handle.path.rglob("*") if path.is_file()} == before


def test_the_sorting_says_which_device_and_which_parameters_it_ran_with(module_home: Home, cut: str) -> None:
    manifest = StoredSorting(module_home.roots, cut).manifest

    (params,) = manifest.details["effective_params"].values()
    assert manifest.details["device"] == "CPU"
    assert params["scheme"] == "1"  # chosen by the run
    assert params["filter"] is False  # sort_assets' own default
    assert params["detect_threshold"] == 5.5  # the sorter's


def test_the_same_run_again_gives_new_versions_of_the_same_data(module_home: Home, cut: str) -> None:
    before = {asset: module_home.store.artefact(cut, asset).manifest for asset in SORT}

    assert module_home.materialize(cut, config=FROM_START_S).success

    after = {asset: module_home.store.artefact(cut, asset).manifest for asset in SORT}
    assert [asset for asset in SORT if after[asset].data_version != before[asset].data_version] == []
    assert all(after[asset].version != before[asset].version for asset in SORT)


def test_a_raw_file_that_was_replaced_is_not_taken_for_the_one_that_was_preprocessed(
    module_home: Home, short_file: Path, nwb_file: Path
) -> None:
    home = module_home
    path = home.link(short_file, "replaced.nwb")
    key = home.register(path)
    assert home.materialize(key, "preprocessed_recording").success
    path.unlink()
    home.link(nwb_file, "replaced.nwb")

    result = home.materialize(key, "binary_dat")

    failure = result.failure_data_for_node("binary_dat")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "has changed since it was preprocessed" in str(failure.user_failure_data.description)
    assert home.store.versions(key, "binary_dat") == []
    assert StoredRecording(home.roots, key).manifest.recording == key


@pytest.mark.release
def test_an_artefact_that_ruins_the_resolution_is_warned_of(
    module_home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    from spikeinterface.core import NumpyRecording

    home = module_home
    recording, _ = short
    traces = recording.get_traces(end_frame=60_000).astype("float32")
    traces[30_000, 3] = 2e6
    glitch = NumpyRecording([traces], recording.sampling_frequency)
    glitch.set_probe(recording.get_probe())
    glitch.set_channel_gains(1.0)
    glitch.set_channel_offsets(0.0)
    key = home.register(write_spikeinterface_binary(glitch, home.roots.recordings / "glitch"))

    result = home.materialize(
        key, "preprocessed_recording", "binary_dat", config=cheap(recording={"bad_channels": "none"})
    )

    assert result.success
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["complete_and_not_clipped"].passed
    assert not checks["resolves_the_noise"].passed
    assert checks["resolves_the_noise"].severity == dg.AssetCheckSeverity.WARN
    assert StoredBinary(home.roots, key).load().get_traces(return_in_uV=True).max() > 1e5


def test_a_gpu_that_was_asked_for_and_is_missing_is_named(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    home, key = ready.home, ready.key
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also on a machine that has one

    result = home.materialize(key, "sorting", config={"preset": "kilosort4", "sorter": {"device": "cuda"}})

    failure = result.failure_data_for_node("sorting")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "sorter.device is 'cuda'" in str(failure.user_failure_data.description)
