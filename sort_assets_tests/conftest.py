"""Recordings that many tests share: small, synthetic, with known spikes, made once per session."""

from pathlib import Path

import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.recordings.synthetic import make_ground_truth, write_nwb


@pytest.fixture(scope="session")
def ground_truth() -> tuple[BaseRecording, BaseSorting]:
    """16 channels, 8 units, 20 s at 30 kHz, in memory; and the spikes in it."""
    return make_ground_truth()


@pytest.fixture(scope="session")
def nwb_file(ground_truth: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of `ground_truth` as an NWB file; read it, never write to it."""
    recording, _ = ground_truth
    return write_nwb(recording, tmp_path_factory.mktemp("recordings") / "ground_truth.nwb")
