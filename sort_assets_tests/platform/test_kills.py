"""A step that is killed while it writes: its run fails, nobody sees its remains, and the same command then succeeds."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sort_assets.automation.jobs import PIPELINE
from sort_assets.errors import MissingArtefactError
from sort_assets_tests.platform.home import Home, cheap, materialize_words, staging_of

WRITTEN_EARLY = {
    "preprocessed_recording": "figures/*.png",
    "binary_dat": "traces.dat",
    "sorting": "sorter/*",
    "waveforms": "analyzer/*",
}
"""By asset, a file that is there well before the artefact is complete."""

# Small chunks, each filtered with its margins: the .dat takes seconds, during which it can be hit.
SLOWLY = cheap(execution={"chunk_duration_s": 0.005})


@pytest.mark.slow
@pytest.mark.parametrize("asset", PIPELINE)
def test_a_killed_step_leaves_nothing_to_see_and_can_be_run_again(
    module_home: Home, short_file: Path, tmp_path: Path, asset: str
) -> None:
    home = module_home
    key = home.register(home.link(short_file, f"{asset}.nwb"))
    upstream = PIPELINE[: PIPELINE.index(asset)]
    if upstream:
        assert home.materialize(key, *upstream).success
    config = SLOWLY if asset == "binary_dat" else cheap()

    killed = _kill_while_it_writes(home, key, asset, config, tmp_path)

    assert killed.written, "it was not writing yet"
    assert killed.status != 0
    _assert_killed_and_failed(home, asset)
    with pytest.raises(MissingArtefactError):
        home.store.artefact(key, asset)
    assert home.store.versions(key, asset) == []
    assert staging_of(home, key, asset), "nothing was left, so that the kill came too late"

    again = home.command(*materialize_words(key, asset, config=config, config_file=tmp_path / "run.json"))

    assert again.status == 0, again.output[-3000:]
    assert home.store.versions(key, asset) == [home.store.artefact(key, asset).manifest.version]
    assert staging_of(home, key, asset) == []


@pytest.mark.slow
def test_a_killed_step_keeps_the_version_that_was_there(module_home: Home, short_file: Path, tmp_path: Path) -> None:
    home, asset = module_home, "binary_dat"
    key = home.register(home.link(short_file, "twice.nwb"))
    assert home.materialize(key, "preprocessed_recording", asset).success
    before = home.store.artefact(key, asset)

    killed = _kill_while_it_writes(home, key, asset, SLOWLY, tmp_path)

    assert killed.written
    assert killed.status != 0
    assert home.store.artefact(key, asset) == before
    assert home.store.versions(key, asset) == [before.manifest.version]


@dataclass(frozen=True)
class Killed:
    """What a command left whose step was killed.

    Attributes
    ----------
    status : int
        Of the command.
    written : list of str
        Files that the step had written.
    """

    status: int
    written: list[str]


def _kill_while_it_writes(home: Home, key: str, asset: str, config: Mapping[str, Any], folder: Path) -> Killed:
    words = materialize_words(key, asset, config=config, config_file=folder / "run.json")
    log = folder / "killed.log"
    command = home.start(*words, output=log)
    try:
        pid, written = _wait_until_it_writes(home.store.asset_folder(key, asset), asset, command, log)
        os.kill(pid, signal.SIGKILL)
        return Killed(command.wait(timeout=120), written)
    finally:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)
            command.wait()


def _wait_until_it_writes(
    folder: Path, asset: str, command: "subprocess.Popen[bytes]", log: Path
) -> tuple[int, list[str]]:
    """The process that holds the lock of the staging folder, and what it has written so far."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and command.poll() is None:
        for lock in folder.glob(".staging-*.lock"):
            written = [path.name for path in lock.with_suffix("").glob(WRITTEN_EARLY[asset])]
            if written:
                return int(json.loads(lock.read_text(encoding="utf-8"))["pid"]), written
        time.sleep(0.002)
    raise AssertionError(f"{asset} was never seen writing:\n{log.read_text(encoding='utf-8')[-3000:]}")


def _assert_killed_and_failed(home: Home, asset: str) -> None:
    """The newest run failed because the step's process got SIGKILL, and it materialized nothing."""
    with home.instance() as instance:
        (run,) = instance.get_runs(limit=1)
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert [event.step_key for event in events if event.event_type_value == "STEP_FAILURE"] == [asset]
    assert any("SIGKILL" in str(event.message) for event in events)
    assert [event for event in events if event.event_type_value == "ASSET_MATERIALIZATION"] == []
