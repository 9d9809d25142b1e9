"""A gain of exactly 1 for whole numbers is none: it is what files have that nobody scaled."""

from pathlib import Path

import pytest
from spikeinterface.core import BaseRecording

from sort_assets.config import RecordingConfig
from sort_assets.errors import RecordingError
from sort_assets.recordings import open_recording
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.writers import write_spikeinterface_binary, write_spikeinterface_zarr

WRITERS = {"day.nwb": write_nwb, "binary": write_spikeinterface_binary, "day.zarr": write_spikeinterface_zarr}


@pytest.mark.parametrize("name", WRITERS)
def test_counts_with_a_gain_of_one_ask_for_microvolts(name: str, short: BaseRecording, tmp_path: Path) -> None:
    counts = short.clone()
    counts.set_channel_gains(1.0)
    path = WRITERS[name](counts, tmp_path / name)

    with pytest.raises(RecordingError, match=r"gain of exactly 1.*Set recording\.gain_to_uv"):
        open_recording(path)

    assert open_recording(path, config=RecordingConfig(gain_to_uv=1.0)).get_num_channels() == 16


def test_microvolts_as_real_numbers_have_a_gain_of_one(short: BaseRecording, tmp_path: Path) -> None:
    microvolts = short.astype("float32")
    microvolts.set_channel_gains(1.0)
    path = write_spikeinterface_binary(microvolts, tmp_path / "binary")

    assert open_recording(path).get_num_channels() == 16
