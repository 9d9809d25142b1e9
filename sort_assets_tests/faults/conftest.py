"""The misbehaving sorter, installed as a lab would install its own."""

from pathlib import Path

import pytest

from sort_assets_tests.faults import misbehaving_sorter


@pytest.fixture(scope="session")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the installed package of the misbehaving sorter."""
    folder = tmp_path_factory.mktemp("site-packages")
    info = folder / "misbehaving_sorter-1.0.dist-info"
    info.mkdir()
    (folder / "misbehaving_sorter.py").write_text(Path(misbehaving_sorter.__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving-sorter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sort_assets.backends]\nmisbehaving = misbehaving_sorter:MisbehavingBackend\n"
    )
    return folder
