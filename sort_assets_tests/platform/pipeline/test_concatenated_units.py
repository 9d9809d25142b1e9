"""Units of files that were put one after the other: delivered per file, and decided on one of them where asked."""

import numpy as np
import pytest
from pynwb import NWBHDF5IO
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

from sort_assets.platform.store.handles import StoredCuration, StoredDelivery
from sort_assets_tests.faults.runs import failures_of
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.platform.pipeline.known_units import AFTER_THE_SORT, prepare

pytestmark = pytest.mark.slow

HALF = 150_000


def test_files_are_delivered_with_times_from_zero_and_one_of_them_can_decide(
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
