"""Runs that are terminated, servers that end or are killed, and two runs that want the same recording."""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from sort_assets.platform.automation.failed_runs import failures_of_run
from sort_assets.platform.execution.only_daemon import LOCK_FILE
from sort_assets.platform.execution.retried_runs import is_launched_again
from sort_assets_tests.faults.runs import (
    assert_gone,
    assert_nothing_half_done,
    failures_of,
    note,
    retries_of,
    sorter_of,
    sorting,
)
from sort_assets_tests.fixtures.home import Home, cheap, staging_of
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.fixtures.servers import up

pytestmark = pytest.mark.slow


def _run_config(backend: Mapping[str, Any]) -> dict[str, Any]:
    return {"resources": {"backend": {"config": dict(backend)}}}


def _hanging(folder: Path) -> dict[str, Any]:
    """Waits for minutes, but not once more."""
    return {
        "sorter": {"name": "misbehaving", "params": {"fault": "hang", "done": str(folder / "done")}},
        "execution": {"n_jobs": 1, "terminate_grace_s": 1},
    }


def test_a_run_is_launched_again_when_its_worker_is_killed_and_not_when_a_person_terminates_it(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key
    with up(home, tmp_path / "up.log", python_path=misbehaving) as (server, servers):
        launched = server.launch("sort_again", key, _run_config(_hanging(tmp_path)))
        run_id = launched["run"]["runId"]
        sorter = sorter_of(home, key)
        group = [sorter, *sorter.children(recursive=True)]

        server.terminate(run_id)
        asked = time.monotonic()
        status = server.wait_for(run_id)
        seconds = time.monotonic() - asked

        note(home, key, f"run terminated by the API (ended after {seconds:.1f} s)", "run canceled")
        assert status == "CANCELED"
        assert seconds < 30
        assert_gone(group)
        assert retries_of(home, run_id) == 0
        assert home.store.versions(key, "sorting") == []
        assert_nothing_half_done(home, key)

        (tmp_path / "done").unlink(missing_ok=True)
        killed = server.launch("sort_again", key, _run_config(_hanging(tmp_path)))["run"]["runId"]
        sorter_of(home, key)
        _wait_for(lambda: (tmp_path / "done").exists(), 60)  # the next one does not hang
        _worker_of(killed, servers.pid).kill()
        since = time.time()
        _wait_for(lambda: bool(_retries_of(home, killed)), 90)
        (retry,) = _retries_of(home, killed)
        status_of_retry = server.wait_for(retry)

        note(home, key, "run worker killed", "run failed, launched again by itself, success", since)
        assert (server.wait_for(killed), status_of_retry) == ("FAILURE", "SUCCESS")
        assert _retries_of(home, run_id) == []  # somebody terminated it
        assert len(home.store.versions(key, "sorting")) == 1
        with home.instance() as instance:
            lost = instance.get_run_by_id(killed)
            assert lost is not None
            (why,) = failures_of_run(instance, lost)
        assert why.failure_class == "RunWorkerLostError"
        assert "was killed (signal 9)" in why.message
        assert_nothing_half_done(home, key)

        (tmp_path / "done").unlink(missing_ok=True)  # the first one was terminated, perhaps before it hung
        last = server.launch("sort_again", key, _run_config(_hanging(tmp_path)))["run"]["runId"]
        sorter_of(home, key)
        started = psutil.Process(servers.pid).children(recursive=True)
        words = {word for process in started for word in _command_line(process)}

        servers.send_signal(signal.SIGINT)

        assert servers.wait(timeout=60) == 0
    assert {
        "sort_assets.platform.execution.webserver",
        "sort_assets.platform.execution.daemon",
        "sort_assets.running.worker",
    } <= words
    assert [process for process in started if process.is_running()] == []
    assert staging_of(home, key, "sorting") == []
    with home.instance() as instance:
        ended = instance.get_run_by_id(last)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    assert is_launched_again(ended)  # by the next `up`


@pytest.mark.release
def test_servers_that_are_killed_with_everything_in_them_can_be_started_again(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key
    with up(home, tmp_path / "up.log", python_path=misbehaving) as (server, servers):
        killed_run = server.launch("sort_again", key, _run_config(_hanging(tmp_path)))["run"]["runId"]
        sorter = sorter_of(home, key)
        # Before that, the next `up` waits a minute whether the daemon's heartbeat is renewed elsewhere.
        _wait_for(lambda: '"daemon_id":null' not in (home.folder / "dagster" / LOCK_FILE).read_text(), 60)
        tree = psutil.Process(servers.pid).children(recursive=True)
        for process in [psutil.Process(servers.pid), *tree]:
            if process.pid != sorter.pid and process.ppid() != sorter.pid:  # these must end by themselves
                process.kill()
        assert_gone([*tree, sorter])

    with up(home, tmp_path / "again.log", python_path=misbehaving) as (server, _):
        _wait_for(lambda: bool(_retries_of(home, killed_run)), 90)
        (again,) = _retries_of(home, killed_run)
        assert server.wait_for(again) == "SUCCESS"

    note(home, key, "the whole `up` tree killed and started again", "run failed, and is launched again by itself")
    with home.instance() as instance:
        run = instance.get_run_by_id(killed_run)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert len(home.store.versions(key, "sorting")) == 1
    assert_nothing_half_done(home, key)


@pytest.mark.release
def test_of_two_runs_that_sort_one_recording_at_once_one_is_told_who_the_other_is(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key
    with home.instance() as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 2)  # as on a machine with two GPUs
    first_config = {
        "sorter": {"name": "misbehaving", "params": {"fault": "log", "done": str(tmp_path / "done"), "seconds": 15}},
        "execution": {"n_jobs": 1},
    }
    (tmp_path / "second").mkdir()

    with sorting(home, key, tmp_path, first_config, python_path=misbehaving) as first:
        first.wait_for(lambda: (tmp_path / "done").exists() or None, "the sorter", 60)
        owner = first.run.run_id
        with sorting(home, key, tmp_path / "second", cheap()) as second:
            refused = second.ended()
            refused_run = second.run.run_id
        status = first.ended()

    note(home, key, "two materializations at once", "RecordingBusyError for the second")
    (failure,) = failures_of(home, refused_run)
    assert refused != 0
    assert failure["failure_class"] == "RecordingBusyError"
    assert owner in failure["description"]
    assert "terminate" in failure["remedy"]
    assert retries_of(home, refused_run) == 0
    assert status == 0, first.output[-3000:]
    assert len(home.store.versions(key, "sorting")) == 1
    assert_nothing_half_done(home, key)


def _retries_of(home: Home, run_id: str) -> list[str]:
    """The runs that followed a run by themselves, or by a person's hand."""
    with home.instance() as instance:
        return [one.run_id for one in instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))]


def _worker_of(run_id: str, up_pid: int) -> psutil.Process:
    """The process that holds the lock of a run."""
    for process in psutil.Process(up_pid).children(recursive=True):
        with suppress(psutil.Error):
            if any(Path(one.path).name == f"{run_id}.lock" for one in process.open_files()):
                return process
    raise AssertionError(f"run {run_id} has no worker")


def _wait_for(is_so: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended this moment
        return []
