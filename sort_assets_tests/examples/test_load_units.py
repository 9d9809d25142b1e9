"""The notebook in `examples/`, run from its first to its last cell on a store that was sorted."""

import tarfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sort_assets_tests.fixtures.home import CHECKOUT

NOTEBOOK = CHECKOUT / "examples/load_units.ipynb"
OLD_STORE = CHECKOUT / "sort_assets_tests/platform/store/old_store/old_store.tar.xz"


def _notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.slow
def test_the_notebook_loads_units_and_draws_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(OLD_STORE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setenv("SORT_ASSETS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SORT_ASSETS_RECORDINGS", str(tmp_path / "recordings"))
    notebook = _notebook()
    (chosen,) = [cell for cell in notebook.cells if cell.source.startswith("recording = ")]
    chosen.source = 'recording = "mouse1/day1.nwb"'

    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()

    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in data for data in shown) == 2
    assert "{'0': 129, '1': 152}" in [data.get("text/plain") for data in shown]  # spikes of the kept units


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = [cell for cell in _notebook().cells if cell.cell_type == "code"]

    assert not [cell.source for cell in cells if cell.outputs or cell.execution_count is not None]
