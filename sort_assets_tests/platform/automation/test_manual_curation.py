"""What an export for Phy leaves alone."""

from pathlib import Path

import pytest

from sort_assets.errors import CurationError
from sort_assets.platform.automation.manual_curation import export_for_phy
from sort_assets_tests.fixtures.home import Home


def test_a_folder_of_something_else_is_left_alone(home: Home, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "spike_clusters.npy").write_bytes(b"of another program")

    with pytest.raises(CurationError, match="did not write") as refused:
        export_for_phy(home.roots, "day.nwb", theirs)

    assert "a new or an empty folder" in refused.value.remedy
    assert (theirs / "spike_clusters.npy").read_bytes() == b"of another program"
