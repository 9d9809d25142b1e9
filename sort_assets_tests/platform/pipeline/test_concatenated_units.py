"""Units of files that were put one after the other, or of a file with a gap: delivered with the times of the files."""

import numpy as np
import pynapple as nap
import pytest
from pynwb import NWBHDF5IO
from scipy.io import loadmat
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

from sort_assets.platform.store.handles import StoredBinary, StoredCuration, StoredDelivery, StoredReport
from sort_assets_tests.faults.runs import failures_of
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.platform.pipeline.known_units import AFTER_THE_SORT, prepare, publish_sorting
from sort_assets_tests.recordings.writers import write_open_ephys

pytestmark = pytest.mark.slow

HALF = 150_000
MISSING = 900_000
RATE_HZ = 30_000 * (1 + 80e-6)
FORMATS = ["nwb", "npz", "mat", "phy", "pynapple"]
PHY_ARRAYS = ("spike_times", "spike_clusters", "spike_times_seconds")


@pytest.mark.release
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


@pytest.mark.release
def test_every_delivery_has_the_times_of_a_clock_with_a_gap_and_another_rate(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, truth = short
    numbers = np.arange(recording.get_num_samples())
    numbers[HALF:] += MISSING
    times = 5.0 + numbers / RATE_HZ
    session = write_open_ephys(recording, home.roots.recordings / "session", lfp=False)
    (folder,) = session.rglob("continuous/*")
    np.save(folder / "sample_numbers.npy", numbers)
    np.save(folder / "timestamps.npy", np.where(numbers // 1000 == 3, -1.0, times))
    key = home.register(session)
    before = home.materialize(key, "preprocessed_recording", "binary_dat", config=cheap())
    # A spike whose waveform reaches over the gap.
    trains = {unit: np.union1d(truth.get_unit_spike_train(unit), [HALF + 7]) for unit in truth.unit_ids}
    rate_hz = StoredBinary(home.roots, key).load().sampling_frequency
    publish_sorting(home, key, NumpySorting.from_unit_dict([trains], rate_hz))

    done = home.materialize(key, *AFTER_THE_SORT, config=cheap(delivery={"formats": FORMATS}))

    assert done.success
    (clock,) = [check for check in before.get_asset_check_evaluations() if check.check_name == "clock"]
    assert not clock.passed
    assert "900000 samples (29.998 s) are missing before sample 150000" in str(clock.description)
    units = StoredCuration(home.roots, key).load()
    assert len(units.unit_ids) > 5
    marks = units.get_annotation("spikes_at_joins")
    files = StoredDelivery(home.roots, key).load()
    arrays, grouped = (np.load(files[f"delivery/session_{end}"]) for end in ("units.npz", "tsgroup.npz"))
    group = nap.load_file(files["delivery/session_tsgroup.npz"])
    struct = loadmat(files["delivery/session_units.mat"], simplify_cells=True)
    with NWBHDF5IO(files["delivery/session.nwb"], "r") as opened:
        table = opened.read().units.to_dataframe()
    phy = {name: np.load(files["delivery/session_phy"] / f"{name}.npy").ravel() for name in PHY_ARRAYS}
    for index, unit in enumerate(units.unit_ids):
        samples = trains[unit]
        at_join = (samples - 30 < HALF) & (samples + 60 > HALF)
        same_s = {
            "load": units.get_unit_spike_train(unit, return_times=True),
            "npz": arrays["spike_times_s"][arrays["spike_unit_index"] == index],
            "mat": np.ravel(struct["units"][index]["spike_times_s"]),
            "nwb": table["spike_times"].iloc[index],
            "pynapple": group[index].t,
            "phy": phy["spike_times_seconds"][phy["spike_clusters"] == index],
        }
        for form, found in same_s.items():
            np.testing.assert_allclose(found, times[samples], rtol=0, atol=0.5 / RATE_HZ, err_msg=form)
        np.testing.assert_array_equal(arrays["spike_at_join"][arrays["spike_unit_index"] == index], at_join)
        np.testing.assert_array_equal(np.ravel(struct["units"][index]["spike_at_join"]), at_join)
        np.testing.assert_array_equal(table["spike_at_join"].iloc[index], at_join)
        np.testing.assert_array_equal(grouped["spike_at_join"][grouped["index"] == index], at_join)
        assert marks[str(unit)] == np.flatnonzero(at_join).tolist()
    gap_s = [times[HALF - 1] + 1 / RATE_HZ, times[HALF]]
    np.testing.assert_allclose(arrays["clock_intervals_s"], [[5.0, gap_s[0]], [gap_s[1], times[-1] + 1 / RATE_HZ]])
    readme = (files["delivery/session.nwb"].parent / "README.txt").read_text()
    assert "+80.00 ppm from the nominal 30000 Hz" in readme
    assert "2 stretches" in readme
    assert "spikes are at joins" in readme
    report = StoredReport(home.roots, key).load().read_text()
    assert "900000 samples missing (29.997600 s)" in report
    for text in (readme, report):
        assert f"1000 of {len(numbers)} samples have no timestamp" in text
