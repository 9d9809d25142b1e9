"""What tests of arrivals share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb


@pytest.fixture(scope="session")
def reader() -> Iterator[HeaderReader]:
    """Its process takes seconds to start."""
    reader = HeaderReader(timeout_s=60.0)
    reader.prepare(120.0)
    yield reader
    reader.close()


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of 4 channels; copy it."""
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    return write_nwb(recording, tmp_path_factory.mktemp("recordings") / "small.nwb")
