"""Short recordings for tests that do not need spikes to be sorted."""

import pytest
from spikeinterface.core import BaseRecording

from sort_assets.testing.ground_truth import make_ground_truth


@pytest.fixture(scope="session")
def short() -> BaseRecording:
    """16 channels, 2 s at 30 kHz, int16, in memory."""
    recording, _ = make_ground_truth(duration_s=2.0)
    return recording
