"""A sort on the node's scratch finds the same as one in the store, and leaves nothing on the scratch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sort_assets.config.settings import SCRATCH_VARIABLE
from sort_assets.platform.store.failures import failed_attempts
from sort_assets.platform.store.handles import StoredSorting
from sort_assets_tests.fixtures.home import CHEAP, cheap, staging_of
from sort_assets_tests.fixtures.ready import Ready

KILOSORT: Mapping[str, Any] = {
    "sorter": {"name": "kilosort4", "device": "cpu"},
    "execution": {"n_jobs": 1},
}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "scratch"
    yield folder
    monkeypatch.delenv(SCRATCH_VARIABLE, raising=False)


def _sorted(ready: Ready, config: Mapping[str, Any]) -> StoredSorting:
    result = ready.home.materialize(ready.key, "sorting", config=config)
    assert result.success
    return StoredSorting(ready.home.roots, ready.key, ready.home.store.versions(ready.key, "sorting")[-1])


def _in_process(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without a process for the sorter, which takes long to start."""
    return {**config, "execution": {**config["execution"], "isolation": "in_process"}}


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("config", [CHEAP, KILOSORT], ids=["ms5", "kilosort4"])
def test_a_sort_on_scratch_is_the_same_as_in_the_store(
    ready: Ready, scratch: Path, monkeypatch: pytest.MonkeyPatch, config: Mapping[str, Any]
) -> None:
    in_store = _sorted(ready, _in_process(config))
    monkeypatch.setenv(SCRATCH_VARIABLE, str(scratch))

    on_scratch = _sorted(ready, config)
    refused = ready.home.materialize(
        ready.key, "sorting", config=_in_process(cheap(sorter={"params": {"scheme": "none"}}))
    )

    assert on_scratch.manifest.data_version == in_store.manifest.data_version
    assert _files(on_scratch.path / "sorter/spikeinterface") == _files(in_store.path / "sorter/spikeinterface")
    naming_scratch = [
        name
        for name in _files(on_scratch.path)
        if Path(name).suffix in (".json", ".py") and str(scratch) in (on_scratch.path / name).read_text()
    ]
    assert naming_scratch == []
    assert not refused.success
    (failed,) = failed_attempts(ready.home.store, ready.key, "sorting")
    assert failed.error.log_excerpt or "none" in failed.error.message
    assert staging_of(ready.home, ready.key, "sorting") == []
    (used,) = scratch.iterdir()
    assert list(used.iterdir()) == []
