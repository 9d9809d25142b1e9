"""A run worker that is killed: its run fails, its steps end with it, and its GPU slot is free for the next run."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest

from sort_assets.platform.execution import dead_runs
from sort_assets.platform.execution.dead_runs import fail_dead_runs, run_worker_lock
from sort_assets_tests.fixtures.home import Home, materialize_words
from sort_assets_tests.fixtures.ready import Ready


@pytest.mark.release
def test_a_run_whose_process_group_was_killed_fails_and_the_same_command_succeeds(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key
    words = materialize_words(key, "sorting", config_file=tmp_path / "run.json")
    with _running(home, words, tmp_path / "killed.log") as worker:
        _step_that_sorts(home, key, worker)
        group = psutil.Process(worker.pid).children(recursive=True)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        _, left = psutil.wait_procs(group, timeout=15)  # the sorter is in another process group
    killed = _newest_run(home)

    again = home.command(*words, timeout=300)

    assert again.status == 0, again.output[-3000:]
    assert left == []
    assert killed.status == dg.DagsterRunStatus.STARTED
    with home.instance() as instance:
        failed = instance.get_run_by_id(killed.run_id)
        messages = [
            entry.message for entry in instance.all_logs(killed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        ]
    assert failed is not None
    assert failed.status == dg.DagsterRunStatus.FAILURE
    assert len(messages) == 1
    assert "has died" in messages[0]
    assert _locks(home) == []
    assert len(home.store.versions(key, "sorting")) == 1


@pytest.mark.slow
def test_a_step_dies_with_its_run_worker_and_leaves_nothing(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key
    words = materialize_words(key, "sorting", config_file=tmp_path / "run.json")
    with _running(home, words, tmp_path / "killed.log") as worker:
        step = _step_that_sorts(home, key, worker)
        processes = psutil.Process(worker.pid).children(recursive=True)
        run = _newest_run(home)

        step.suspend()  # so that it, and the server that it was forked from, outlive their worker for sure
        worker.kill()
        worker.wait()
        with home.instance() as instance:
            reported = fail_dead_runs(instance)
        survivors = [process for process in processes if process.is_running()]
        step.resume()
        _, alive = psutil.wait_procs(processes, timeout=15)

    assert reported == [run.run_id]
    assert step in survivors
    assert len(survivors) > 1
    assert len(processes) >= 4  # the forkserver and what belongs to it, the step, the sorter, its guard
    assert alive == []
    assert home.store.versions(key, "sorting") == []
    assert list(home.store.asset_folder(key, "sorting").glob("*")) == []
    with home.instance() as instance:
        failed = instance.get_run_by_id(run.run_id)
        materialized = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        slots = instance.event_log_storage.get_concurrency_info("gpu")
    assert failed is not None
    assert failed.status == dg.DagsterRunStatus.FAILURE
    assert materialized == []
    assert slots.claimed_slots == []


@pytest.mark.release
def test_the_start_of_a_second_run_does_not_fail_a_living_one(ready: Ready, short_file: Path, tmp_path: Path) -> None:
    home, key = ready.home, ready.key
    other = home.register(home.link(short_file, "second.nwb"))
    words = materialize_words(key, "sorting", config_file=tmp_path / "living.json")
    with _running(home, words, tmp_path / "living.log") as living:
        _step_that_sorts(home, key, living)
        run = _newest_run(home)

        second = home.command(
            *materialize_words(other, "preprocessed_recording", config_file=tmp_path / "second.json"), timeout=300
        )
        status = living.wait(timeout=300)

    assert second.status == 0, second.output[-3000:]
    assert status == 0, (tmp_path / "living.log").read_text(encoding="utf-8")[-3000:]
    with home.instance() as instance:
        ended = instance.get_run_by_id(run.run_id)
        failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.SUCCESS
    assert failures == []
    assert _locks(home) == []


def test_a_run_is_failed_only_when_the_worker_that_held_its_lock_here_is_gone(home: Home) -> None:
    folder = _lock_folder(home)
    with home.instance() as instance:
        ours, elsewhere, without_a_lock, not_yet_held = (_started_run(instance) for _ in range(4))
        with run_worker_lock(instance, ours):
            (folder / f"{elsewhere}.lock").write_text("another-host", encoding="utf-8")
            (folder / f"{not_yet_held}.lock").touch()
            left_by_a_kill = (folder / f"{ours}.lock").read_bytes()

            while_it_lives = fail_dead_runs(instance)
        after_its_end = fail_dead_runs(instance)
        (folder / f"{ours}.lock").write_bytes(left_by_a_kill)
        after_its_death = fail_dead_runs(instance)

        assert while_it_lives == []
        assert after_its_end == []
        assert after_its_death == [ours]
        unfinished = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert {run.run_id for run in unfinished} == {elsewhere, without_a_lock, not_yet_held}


def test_a_dead_run_is_reported_once_however_many_look_for_it_at_once(home: Home) -> None:
    with home.instance() as instance:
        run_id = _started_run(instance)
        with run_worker_lock(instance, run_id):
            left_by_a_kill = _locks(home)[0].read_bytes()
        (_lock_folder(home) / f"{run_id}.lock").write_bytes(left_by_a_kill)

        with ThreadPoolExecutor(8) as pool:
            reported = [found for each in pool.map(fail_dead_runs, [instance] * 32) for found in each]

        failures = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert reported == [run_id]
    assert len(failures) == 1
    assert _locks(home) == []


def test_a_run_whose_code_server_lives_is_left_to_it_for_a_while(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "socket")
    with home.instance() as instance, socket.socket(socket.AF_UNIX) as code_server:
        code_server.bind(address)
        code_server.listen()
        tags = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": address})}
        run_ids = [_dead_run(instance, home, tags) for _ in range(2)]

        while_it_listens = fail_dead_runs(instance)
        monkeypatch.setattr(dead_runs, "_first_seen_dead", {run_ids[0]: time.monotonic() - 60})
        when_it_says_nothing = fail_dead_runs(instance)
        code_server.close()
        when_it_is_gone = fail_dead_runs(instance)

    assert (while_it_listens, when_it_says_nothing, when_it_is_gone) == ([], [run_ids[0]], [run_ids[1]])
    assert _locks(home) == []


@contextmanager
def _running(home: Home, words: tuple[str, ...], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A command whose first process is the run worker; nothing of its process group is left afterwards."""
    command = home.start(*words, output=log)
    try:
        yield command
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.wait()


def _step_that_sorts(home: Home, key: str, command: "subprocess.Popen[bytes]") -> psutil.Process:
    """The process whose sorter is at work."""

    def found() -> psutil.Process | None:
        for lock in home.store.asset_folder(key, "sorting").glob(".staging-*.lock"):
            if any(lock.with_suffix("").glob("sorter/spikeinterface/*")):
                return psutil.Process(json.loads(lock.read_text(encoding="utf-8"))["pid"])
        assert command.poll() is None, "the command has ended"
        return None

    return _wait_for(found)


def _wait_for(found: Callable[[], psutil.Process | None]) -> psutil.Process:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (process := found()) is not None:
            return process
        time.sleep(0.01)
    raise AssertionError("the sorter was never seen at work")


def _newest_run(home: Home) -> dg.DagsterRun:
    with home.instance() as instance:
        (run,) = instance.get_runs(limit=1)
    return run


def _started_run(instance: dg.DagsterInstance) -> str:
    run = dg.DagsterRun(job_name="sort_recording", status=dg.DagsterRunStatus.STARTED)
    return instance.add_run(run).run_id


def _dead_run(instance: dg.DagsterInstance, home: Home, tags: dict[str, str]) -> str:
    """A run whose worker was killed."""
    run = dg.DagsterRun(job_name="sort_recording", status=dg.DagsterRunStatus.STARTED, tags=tags)
    run_id = instance.add_run(run).run_id
    lock = _lock_folder(home) / f"{run_id}.lock"
    with run_worker_lock(instance, run_id):
        left_by_a_kill = lock.read_bytes()
    lock.write_bytes(left_by_a_kill)
    return run_id


def _locks(home: Home) -> list[Path]:
    return list(_lock_folder(home).iterdir())


def _lock_folder(home: Home) -> Path:
    return Path(home.variables["DAGSTER_HOME"]) / "run_locks"
