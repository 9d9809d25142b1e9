"""Recordings of several shanks, each sorted on its own; and channels that carry no signal."""

import numpy as np
import pytest
from probeinterface import ProbeGroup
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording

from sort_assets.platform.store.handles import StoredAnalyzer, StoredBinary, StoredRecording, StoredSorting
from sort_assets.testing.ground_truth import GAIN_TO_UV, make_ground_truth, make_probe
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import IN_PROCESS, Home, cheap
from sort_assets_tests.recordings.files import recording_of

pytestmark = pytest.mark.slow

SHANK_DISTANCE_UM = 500.0


@pytest.fixture(scope="module")
def shanks() -> BaseRecording:
    """Two shanks, "left" and "right", of 8 channels and 4 units each, 10 s."""
    left, right = (make_ground_truth(duration_s=10.0, num_channels=8, num_units=4, seed=seed)[0] for seed in (1, 2))
    both = NumpyRecording([np.hstack([left.get_traces(), right.get_traces()])], left.sampling_frequency)
    both.set_channel_gains(GAIN_TO_UV)
    both.set_channel_offsets(0.0)
    probes = ProbeGroup()
    for index in range(2):
        probe = make_probe(8)
        probe.move([SHANK_DISTANCE_UM * index, 0])
        probe.set_device_channel_indices(np.arange(8) + 8 * index)
        probes.add_probe(probe)
    both.set_probegroup(probes)
    both.set_channel_groups(np.repeat(["left", "right"], 8))
    return both


def test_each_group_has_its_dat_and_its_sort_and_the_units_come_together(
    module_home: Home, shanks: BaseRecording
) -> None:
    home = module_home
    key = home.register(write_nwb(shanks, home.roots.recordings / "shanks.nwb"))
    sort_by_shank = {**IN_PROCESS, "recording": {"split_by": "group", "bad_channels": "none"}}

    result = home.materialize(key, config=sort_by_shank)

    assert result.success
    left, right = "ElectricalSeries_left", "ElectricalSeries_right"  # the names of the electrode groups
    binary = StoredBinary(home.roots, key)
    assert list(binary.dat_paths) == [left, right]
    num_bytes = shanks.get_num_samples() * 8 * np.dtype("int16").itemsize
    assert [path.stat().st_size for path in binary.dat_paths.values()] == [num_bytes, num_bytes]
    filtered = StoredRecording(home.roots, key).load()
    whole = binary.load()
    assert whole.channel_ids.tolist() == filtered.channel_ids.tolist() == [str(channel) for channel in range(16)]
    np.testing.assert_array_equal(whole.get_channel_locations(), shanks.get_channel_locations())
    np.testing.assert_allclose(
        whole.get_traces(start_frame=90000, end_frame=93000, return_in_uV=True),
        filtered.get_traces(start_frame=90000, end_frame=93000),
        atol=0.1,
    )

    units = StoredSorting(home.roots, key).load()
    groups = units.get_property("group").tolist()
    assert set(groups) == {left, right}
    assert [unit.rpartition("_")[0] for unit in units.unit_ids] == groups

    analyzer = StoredAnalyzer(home.roots, key).load()
    assert analyzer.has_recording()
    assert analyzer.unit_ids.tolist() == units.unit_ids.tolist()
    templates = analyzer.get_extension("templates").get_data()
    main_channels = np.abs(templates).max(axis=1).argmax(axis=1)
    assert [left if channel < 8 else right for channel in main_channels] == groups

    costs = [handle(home.roots, key).manifest.cost for handle in (StoredRecording, StoredSorting, StoredAnalyzer)]
    assert all(cost is not None and cost.wall_s > 0 and cost.cpu_s > 0 for cost in costs)
    assert {(cost.channels, cost.samples) for cost in costs if cost} == {(16, shanks.get_num_samples())}


@pytest.mark.release
def test_a_dead_channel_is_dropped_and_shown(module_home: Home, short: tuple[BaseRecording, BaseSorting]) -> None:
    home = module_home
    recording, _ = short
    traces = recording.get_traces().copy()
    traces[:, 6] = 0
    key = home.register(write_nwb(recording_of(traces, recording), home.roots.recordings / "dead.nwb"))

    result = home.materialize(key, "preprocessed_recording", "binary_dat", config=cheap())

    assert result.success
    metadata = home.metadata(result.run_id, "preprocessed_recording")
    assert metadata["bad_channels"].value == 1
    assert metadata["channels"].value == 15
    (removed,) = metadata["removed_channels"].records
    assert removed.data == {"channel": "6", "reason": "dead"}
    kept = [str(channel) for channel in range(16) if channel != 6]
    assert StoredBinary(home.roots, key).load().channel_ids.tolist() == kept


@pytest.mark.release
def test_listed_channels_are_dropped_and_no_others(module_home: Home, short: tuple[BaseRecording, BaseSorting]) -> None:
    home = module_home
    recording, _ = short
    traces = recording.get_traces().copy()
    traces[:, 6] = 0
    key = home.register(write_nwb(recording_of(traces, recording), home.roots.recordings / "listed.nwb"))
    listed = cheap(recording={"bad_channels": "list", "bad_channel_ids": ["3", "12"]})

    result = home.materialize(key, "preprocessed_recording", "binary_dat", config=listed)

    assert result.success
    removed = home.metadata(result.run_id, "preprocessed_recording")["removed_channels"].records
    assert [record.data for record in removed] == [
        {"channel": "3", "reason": "listed"},
        {"channel": "12", "reason": "listed"},
    ]
    kept = [str(channel) for channel in range(16) if channel not in (3, 12)]
    assert StoredBinary(home.roots, key).load().channel_ids.tolist() == kept
