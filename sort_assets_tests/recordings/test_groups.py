from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, NumpySorting

from sort_assets.errors import ConfigError
from sort_assets.recordings import aggregate_recordings, aggregate_sortings, open_recording, split_recording
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import recording_of, tetrodes_at_one_place


@pytest.fixture
def tetrodes(short: BaseRecording) -> BaseRecording:
    """Four tetrodes whose groups are 2, 10, 0 and 1."""
    recording = recording_of(short.get_traces(), short)
    recording.set_channel_groups(np.repeat([2, 10, 0, 1], 4))
    return recording


def _sorting(**trains: list[int]) -> NumpySorting:
    return NumpySorting.from_unit_dict([{unit: np.array(train) for unit, train in trains.items()}], 30000)


def test_groups_come_in_natural_order_of_their_names(tetrodes: BaseRecording) -> None:
    split = split_recording(tetrodes, "group")

    assert list(split) == ["0", "1", "2", "10"]
    assert split["10"].channel_ids.tolist() == ["4", "5", "6", "7"]
    np.testing.assert_array_equal(split["10"].get_traces(), tetrodes.get_traces()[:, 4:8])


def test_any_property_splits(short: BaseRecording) -> None:
    recording = recording_of(short.get_traces(), short)
    recording.set_property("region", ["CA1"] * 10 + ["CA3"] * 6)

    assert [part.get_num_channels() for part in split_recording(recording, "region").values()] == [10, 6]


def test_a_missing_property_is_refused_with_those_that_exist(tetrodes: BaseRecording) -> None:
    with pytest.raises(ConfigError, match=r"'shank'.*gain_to_uV, group"):
        split_recording(tetrodes, "shank")


def test_split_recordings_come_together_again(tetrodes: BaseRecording) -> None:
    aggregated = aggregate_recordings(split_recording(tetrodes, "group"))

    assert sorted(aggregated.channel_ids) == sorted(tetrodes.channel_ids)
    np.testing.assert_array_equal(aggregated.get_traces(channel_ids=tetrodes.channel_ids), tetrodes.get_traces())
    np.testing.assert_array_equal(
        aggregated.get_channel_locations(tetrodes.channel_ids), tetrodes.get_channel_locations()
    )
    assert aggregated.get_channel_groups().tolist() == np.repeat([0, 1, 2, 10], 4).tolist()


def test_tetrodes_at_one_place_are_moved_apart(short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write_nwb(tetrodes_at_one_place(short), tmp_path / "tetrodes.nwb"))
    split = split_recording(recording, "group")

    aggregated = aggregate_recordings(split)

    locations = aggregated.get_channel_locations()
    assert len(np.unique(recording.get_channel_locations(), axis=0)) == 4
    assert len(np.unique(locations, axis=0)) == 16
    np.testing.assert_allclose(locations[4:8] - locations[:4], [[1000.0, 0.0]] * 4)
    assert len(np.unique(aggregated.get_channel_groups())) == 4


def test_units_keep_their_group_and_become_unique() -> None:
    sortings = {"0": _sorting(a=[10, 20]), "10": _sorting(a=[15], b=[5, 25])}

    aggregated = aggregate_sortings(sortings)

    assert aggregated.unit_ids.tolist() == ["0_a", "10_a", "10_b"]
    assert aggregated.get_property("group").tolist() == ["0", "10", "10"]
    assert aggregated.get_unit_spike_train("10_b").tolist() == [5, 25]


def test_groups_without_units_are_allowed() -> None:
    aggregated = aggregate_sortings({"0": _sorting(), "1": _sorting(a=[1, 2]), "2": _sorting()})

    assert aggregated.unit_ids.tolist() == ["1_a"]
    assert aggregated.get_property("group").tolist() == ["1"]


def test_no_units_in_any_group_make_a_sorting_without_units() -> None:
    aggregated = aggregate_sortings({"0": _sorting(), "1": _sorting()})

    assert aggregated.get_num_units() == 0
    assert aggregated.get_num_segments() == 1
    assert aggregated.sampling_frequency == 30000


def test_the_sorters_own_group_property_gives_way() -> None:
    sorting = _sorting(a=[1], b=[2])
    sorting.set_property("group", [7, 7])

    aggregated = aggregate_sortings({"shank_1": sorting})

    assert aggregated.get_property("group").tolist() == ["shank_1", "shank_1"]
    assert sorting.get_property("group").tolist() == [7, 7]
