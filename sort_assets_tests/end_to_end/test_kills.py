"""Steps that are killed while they write: tried again within their run, or failed in words; nobody sees the remains."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sort_assets.errors import MissingArtefactError, StepCrashedError
from sort_assets.platform.store.failures import FailedAttempt, failed_attempts, failure_folder
from sort_assets_tests.fixtures.failures import failure_of
from sort_assets_tests.fixtures.home import CHEAP, SORT, Home, cheap, materialize_words, staging_of

WRITTEN_EARLY = {
    "preprocessed_recording": "figures/*.png",
    "binary_dat": "traces.dat",
    "sorting": "sorter/spikeinterface/*",
    "waveforms": "analyzer/*",
}
"""By asset, a file that is there well before the artefact is complete."""

# Small chunks, each filtered with its margins: the .dat takes seconds, during which it can be hit; the sort does not.
SLOWLY = {"n_jobs": 1, "chunk_duration_s": 0.005}
SORTER = {"params": {**CHEAP["sorter"]["params"], "chunk_duration": "1s"}}

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("kills")]


@dataclass(frozen=True)
class Kill:
    """A step that was killed, and what could be seen of its asset right afterwards.

    Attributes
    ----------
    written : list of str
        Files that the step had written.
    versions : list of str
        The asset's versions.
    readable : bool
        Whether the store gave the asset out.
    """

    written: list[str]
    versions: list[str]
    readable: bool


@dataclass(frozen=True)
class KilledRun:
    """A run of the whole pipeline, each of whose steps was killed once.

    Attributes
    ----------
    home : Home
    key : str
        The recording.
    kills : Mapping[str, Kill]
        By asset.
    status : int
        Of the command.
    output : str
        What it printed.
    run_id : str
    """

    home: Home
    key: str
    kills: Mapping[str, Kill]
    status: int
    output: str
    run_id: str


@pytest.fixture(scope="module")
def killed_run(module_home: Home, short_file: Path, tmp_path_factory: pytest.TempPathFactory) -> KilledRun:
    home, folder = module_home, tmp_path_factory.mktemp("killed")
    key = home.register(home.link(short_file, "day.nwb"))
    words = materialize_words(key, config=cheap(execution=SLOWLY, sorter=SORTER), config_file=folder / "run.json")
    with _running(home, words, folder / "run.log") as command:
        kills = {asset: _kill_while_it_writes(home, key, asset, command, folder / "run.log") for asset in SORT}
        status = command.wait(timeout=300)
    return KilledRun(
        home, key, kills, status, (folder / "run.log").read_text(encoding="utf-8"), _newest_run(home).run_id
    )


@pytest.mark.parametrize("asset", SORT)
def test_a_step_that_is_killed_once_is_tried_again_within_its_run(killed_run: KilledRun, asset: str) -> None:
    home, key, kill = killed_run.home, killed_run.key, killed_run.kills[asset]

    (version,) = home.store.versions(key, asset)
    (record,) = failed_attempts(home.store, key, asset, run_id=killed_run.run_id)

    assert killed_run.status == 0, killed_run.output[-3000:]
    assert "SIGKILL" in killed_run.output
    assert kill.written, "it was not writing yet"
    assert (kill.versions, kill.readable) == ([], False)
    assert _events(home, killed_run.run_id, asset) == {
        "STEP_UP_FOR_RETRY": 1,
        "STEP_FAILURE": 0,
        "ASSET_MATERIALIZATION": 1,
    }
    assert home.store.artefact(key, asset).manifest.version == version != record.version
    _assert_killed_and_recorded(home, record)
    assert staging_of(home, key, asset) == []


@pytest.mark.release
@pytest.mark.parametrize("asset", ["binary_dat", "sorting"])
def test_a_step_that_may_not_crash_again_fails_in_words_and_keeps_the_version_that_was_there(
    killed_run: KilledRun, tmp_path: Path, asset: str
) -> None:
    home, key = killed_run.home, killed_run.key
    before = home.store.artefact(key, asset)
    config = cheap(execution={**SLOWLY, "crash_retry_max": 0}, sorter=SORTER)
    words = materialize_words(key, asset, config=config, config_file=tmp_path / "run.json")

    with _running(home, words, tmp_path / "run.log") as command:
        kill = _kill_while_it_writes(home, key, asset, command, tmp_path / "run.log")
        status = command.wait(timeout=300)

    run_id = _newest_run(home).run_id
    failure = failure_of(home, run_id)
    assert status != 0
    assert kill.written, "it was not writing yet"
    assert failure.step == asset
    assert failure.failure_class == "StepCrashedError"
    assert "killed or crashed" in failure.description
    assert "journalctl" in failure.remedy
    assert _events(home, run_id, asset)["ASSET_MATERIALIZATION"] == 0
    (killed,) = failed_attempts(home.store, key, asset, run_id=run_id)
    _assert_killed_and_recorded(home, killed)
    assert home.store.artefact(key, asset) == before
    assert home.store.versions(key, asset) == [before.manifest.version]
    assert staging_of(home, key, asset) == []

    again = home.materialize(key, asset, config=config)

    assert again.success
    assert home.store.versions(key, asset) == [
        before.manifest.version,
        home.store.artefact(key, asset).manifest.version,
    ]


def _assert_killed_and_recorded(home: Home, record: FailedAttempt) -> None:
    """The record of an attempt that was killed: its class, and its logs where a sorter ran."""
    folder = failure_folder(home.store, record.recording, record.asset, record.version)
    assert type(record.error) is StepCrashedError
    assert record.attempt == 1
    logs = ["sorter.log"] if record.asset == "sorting" else []
    assert [path.name for path in folder.glob("logs/*.log")] == logs
    assert {path.name for path in folder.iterdir()} == {"failure.json", *(["logs"] if logs else [])}


@contextmanager
def _running(home: Home, words: tuple[str, ...], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = home.start(*words, output=log)
    try:
        yield command
    finally:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)
            command.wait()


def _kill_while_it_writes(home: Home, key: str, asset: str, command: "subprocess.Popen[bytes]", log: Path) -> Kill:
    before = home.store.versions(key, asset)
    pid, written = _wait_until_it_writes(home.store.asset_folder(key, asset), asset, command, log)
    os.kill(pid, signal.SIGKILL)
    try:
        home.store.artefact(key, asset)
    except MissingArtefactError:
        readable = False
    else:
        readable = True
    versions = home.store.versions(key, asset)
    assert versions == before, "the kill came too late"
    return Kill(written, versions, readable)


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


def _newest_run(home: Home) -> dg.DagsterRun:
    with home.instance() as instance:
        (run,) = instance.get_runs(limit=1)
    return run


def _events(home: Home, run_id: str, step: str) -> dict[str, int]:
    """How often a step was tried again, failed and materialized its asset in a run."""
    with home.instance() as instance:
        entries: list[Any] = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
    seen = [event.event_type_value for event in entries if event.step_key == step]
    return {kind: seen.count(kind) for kind in ("STEP_UP_FOR_RETRY", "STEP_FAILURE", "ASSET_MATERIALIZATION")}
