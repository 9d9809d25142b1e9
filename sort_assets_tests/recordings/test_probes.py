from pathlib import Path

import h5py
import numpy as np
import pytest
from spikeinterface.core import BaseRecording

from sort_assets.errors import MissingProbeError
from sort_assets.recordings import open_recording, require_probe, split_recording
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import recording_of, tetrodes_at_one_place


def _placed(short: BaseRecording, positions: np.ndarray) -> BaseRecording:
    recording = recording_of(short.get_traces(), short)
    probe = recording.get_probegroup().probes[0]
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 6})
    probe.set_device_channel_indices(np.arange(16))
    recording.set_probe(probe)
    return recording


def test_a_probe_with_places_of_its_own_for_each_channel_passes(short: BaseRecording) -> None:
    require_probe(short, "recording.nwb")


def test_a_recording_without_locations_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", locations=False)

    with pytest.raises(MissingProbeError, match=r"recording\.nwb.*rel_x"):
        require_probe(open_recording(path), path)


def test_locations_that_are_not_numbers_are_refused(short: BaseRecording) -> None:
    positions = short.get_channel_locations().copy()
    positions[5] = np.nan

    with pytest.raises(MissingProbeError, match="not a number: 5"):
        require_probe(_placed(short, positions), "recording.nwb")


def test_shared_locations_are_refused_until_the_recording_is_split(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(tetrodes_at_one_place(short), tmp_path / "tetrodes.nwb")
    recording = open_recording(path)

    with pytest.raises(MissingProbeError, match=r"several channels.*recording\.split_by"):
        require_probe(recording, path)
    for group in split_recording(recording, "group").values():
        require_probe(group, path)


def test_concatenated_tetrodes_keep_their_groups(short: BaseRecording, tmp_path: Path) -> None:
    for name in ("part_1.nwb", "part_2.nwb"):
        write_nwb(tetrodes_at_one_place(short), tmp_path / name)

    recording = open_recording(tmp_path)

    assert len(split_recording(recording, "group")) == 4


def test_electrodes_of_one_group_at_one_point_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        file["general/extracellular_ephys/electrodes/rel_x"][:] = 0.0
        file["general/extracellular_ephys/electrodes/rel_y"][:] = 0.0

    with pytest.raises(MissingProbeError, match=r"several electrodes of one group at the same point.*rel_x"):
        open_recording(path)
