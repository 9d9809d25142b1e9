"""Recordings and store have another path on each host: what was made under one is continued under the other."""

import json
from pathlib import Path

import pytest

from sort_assets.platform.store.handles import StoredAnalyzer, StoredSorting
from sort_assets_tests.fixtures.home import Home, home_at
from sort_assets_tests.fixtures.ready import Ready


def _naming(store: Path, *folders: Path) -> list[str]:
    """Manifests that name one of these folders."""
    return [
        str(path.relative_to(store))
        for path in store.rglob("manifest.json")
        if any(str(folder) in path.read_text(encoding="utf-8") for folder in folders)
    ]


@pytest.mark.slow
def test_a_sort_of_one_host_is_continued_on_another_with_other_paths(
    ready_template: Home, ready: Ready, tmp_path: Path
) -> None:
    first = ready.home
    assert first.materialize(ready.key, "sorting").success
    made = StoredSorting(first.roots, ready.key).manifest
    # Not a copy: whatever still named the first path would not be found.
    other = home_at(first.folder.rename(tmp_path / "another host"))

    result = other.materialize(ready.key, "waveforms")

    assert result.success
    waveforms = StoredAnalyzer(other.roots, ready.key)
    assert waveforms.manifest.inputs["sorting"].version == made.version
    assert waveforms.load().has_recording()
    assert _naming(other.roots.store, ready_template.folder, first.folder) == []
    with other.instance() as instance:
        run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert str(other.folder) not in json.dumps([run.run_config, dict(run.tags)], default=str)
