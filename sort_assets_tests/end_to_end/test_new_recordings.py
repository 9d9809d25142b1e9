"""From a file that somebody copies into a folder to its sorted units, with the real daemon and nobody about."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sort_assets.config.settings import SCAN_INTERVAL_VARIABLE
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.servers import up
from sort_assets_tests.recordings.files import cut_second_half

RULES = """
arrival: {quiet_s: 2}
rules:
- match: "*"
  preset: mountainsort5
  sorter: {params: {scheme: "1", npca_per_channel: 1}}
  execution: {n_jobs: 1}
- match: archive/
  sort: false
"""
TICKS = """
query Ticks {
  sensorOrError(sensorSelector: {
    repositoryLocationName: "sort_assets", repositoryName: "__repository__", sensorName: "new_recordings"
  }) { ... on Sensor { sensorState { ticks { status error { message } runIds } } } }
}
"""


def _wait(what: Callable[[], Any], timeout_s: float = 240.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return found


@pytest.mark.release
def test_a_recording_that_is_copied_into_the_folder_is_sorted_by_itself(
    home: Home, short_file: Path, tmp_path: Path
) -> None:
    home = replace(home, variables={**home.variables, SCAN_INTERVAL_VARIABLE: "2"})
    root = home.roots.recordings
    (root / "sort_assets.yaml").write_text(RULES, encoding="utf-8")
    (root / "archive").mkdir()

    def status() -> dict[str, Any]:
        listed = json.loads(home.invoke("status", "--json").stdout)
        return {one["recording"]: one for one in listed if one.get("recording")}

    with up(home, tmp_path / "up.log") as (server, _):
        shutil.copy(short_file, root / "mouse 1.nwb.part")
        shutil.copy(short_file, root / "archive" / "old.nwb")
        shutil.copy(short_file, root / "damaged.nwb")
        cut_second_half(root / "damaged.nwb")
        (root / "mouse 1.nwb.part").rename(root / "mouse 1.nwb")

        _wait(lambda: (status().get("mouse=201.nwb") or {}).get("last_run_status") == "SUCCESS")
        _wait(lambda: "mouse=201.nwb: done in" in (tmp_path / "up.log").read_text(), timeout_s=60)
        ticks = server.ask(TICKS)["sensorOrError"]["sensorState"]["ticks"]

    found = status()
    assert set(found) == {"mouse=201.nwb", "archive~old.nwb"}
    assert found["mouse=201.nwb"]["assets"] == dict.fromkeys(PIPELINE, True)
    assert found["mouse=201.nwb"]["units"] >= 6
    assert found["archive~old.nwb"]["last_run"] is None
    manifest = home.store.artefact("mouse=201.nwb", "sorting").manifest
    assert manifest.config_sources["sorter.params.scheme"] == "sort_assets.yaml, line 4"
    assert {tick["status"] for tick in ticks} <= {"SUCCESS", "SKIPPED", "STARTED"}
    assert sum(len(tick["runIds"]) for tick in ticks) == 1
    said = (tmp_path / "up.log").read_text()
    assert said.count("damaged.nwb: not registered: UnreadableRecordingError") == 1
    assert said.count("mouse=201.nwb: done in") == 1, said
    assert "RUN_START" not in said  # what Dagster prints goes into files
