"""Units of files that were put one after the other, or of a file with a gap: delivered with the times of the files."""

from pathlib import Path

import h5py
import numpy as np
import pynapple as nap
import pytest
from pynwb import NWBHDF5IO
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

from sort_assets.platform.store.handles import StoredBinary, StoredCuration, StoredDelivery
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.faults.runs import failures_of
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.platform.pipeline.known_units import AFTER_THE_SORT, prepare, publish_sorting

pytestmark = pytest.mark.slow

HALF = 150_000


def test_files_are_delivered_on_their_own_clocks_and_one_of_them_can_decide(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, truth = short
    trains = {index: truth.get_unit_spike_train(unit) for index, unit in enumerate(truth.unit_ids)}
    trains[0] = trains[0][trains[0] < HALF]
    units = NumpySorting.from_unit_dict([trains], truth.sampling_frequency)
    files = {
        "part_1.nwb": recording.frame_slice(0, HALF),
        "part_2.nwb": recording.frame_slice(HALF, recording.get_num_samples()),
    }
    key = prepare(home, files, units, folder="session")

    whole = home.materialize(key, *AFTER_THE_SORT, config=cheap())
    on_the_whole = StoredCuration(home.roots, key).decisions()
    second = home.materialize(key, "curated_units", config=cheap(curation={"epoch": "part_2"}))
    on_the_second = StoredCuration(home.roots, key).decisions()
    third = home.materialize(key, "curated_units", config=cheap(curation={"epoch": "3"}))

    assert whole.success
    assert second.success
    assert on_the_whole["kept"].all()
    assert list(on_the_second.index[~on_the_second["kept"].to_numpy(bool)]) == ["0"]
    assert StoredCuration(home.roots, key).load().count_num_spikes_per_unit()[1] == len(trains[1])
    delivered = StoredDelivery(home.roots, key).load()
    for number, start in ((1, 0), (2, HALF)):
        (path,) = [path for path in delivered.values() if f"part_{number}" in path.name and path.suffix == ".nwb"]
        with NWBHDF5IO(path, "r") as file:
            spikes = file.read().units.to_dataframe()["spike_times"]
        for index, times in enumerate(spikes):
            samples = trains[index][(trains[index] >= start) & (trains[index] < start + HALF)] - start
            np.testing.assert_allclose(times, samples / 30_000, atol=1e-9)
    (failure,) = failures_of(home, third.run_id)
    assert failure["failure_class"] == "ConfigError"
    assert "1: part_1.nwb, 2: part_2.nwb" in failure["remedy"]


def test_a_gap_in_the_file_is_in_the_times_of_every_delivery(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, truth = short
    times = 5.0 + np.arange(recording.get_num_samples()) / 29_998.5
    times[HALF:] += 30.0
    file = write_nwb(recording, home.roots.recordings / "hole.nwb", timestamps=True)
    with h5py.File(file, "a") as opened:
        opened["acquisition/ElectricalSeries/timestamps"][:] = times
    key = home.register(file)
    before = home.materialize(key, "preprocessed_recording", "binary_dat", config=cheap())
    trains = {unit: truth.get_unit_spike_train(unit) for unit in truth.unit_ids}
    rate_hz = StoredBinary(home.roots, key).load().sampling_frequency
    publish_sorting(home, key, NumpySorting.from_unit_dict([trains], rate_hz))

    done = home.materialize(key, *AFTER_THE_SORT, config=cheap(delivery={"formats": ["nwb", "npz", "pynapple"]}))

    assert done.success
    (clock,) = [check for check in before.get_asset_check_evaluations() if check.check_name == "clock"]
    assert not clock.passed
    assert "(30.000 s) are missing before sample 150000" in str(clock.description)
    units = StoredCuration(home.roots, key).load()
    assert len(units.unit_ids) > 5
    true_s = {str(unit): times[truth.get_unit_spike_train(unit)] for unit in truth.unit_ids}
    files = {path.suffixes[-1] if "tsgroup" not in path.name else "tsgroup": path for path in _delivered(home, key)}
    arrays = np.load(files[".npz"], allow_pickle=False)
    group = nap.load_file(files["tsgroup"])
    with NWBHDF5IO(files[".nwb"], "r") as opened:
        table = opened.read().units.to_dataframe()
    for index, unit in enumerate(units.unit_ids):
        expected = true_s[str(unit)]
        np.testing.assert_allclose(units.get_unit_spike_train(unit, return_times=True), expected, atol=1e-5)
        np.testing.assert_allclose(arrays["spike_times_s"][arrays["spike_unit_index"] == index], expected, atol=1e-5)
        np.testing.assert_allclose(table["spike_times"].iloc[index], expected, atol=1e-5)
        np.testing.assert_allclose(group[index].t, expected, atol=1e-5)
    np.testing.assert_allclose(arrays["clock_intervals_s"], [[5.0, 10.00025], [40.00025, 45.0005]], atol=1e-4)
    readme = (files[".nwb"].parent / "README.txt").read_text()
    assert "29998.50" in readme
    assert "2 stretches" in readme


def _delivered(home: Home, key: str) -> list[Path]:
    return list(StoredDelivery(home.roots, key).load().values())
