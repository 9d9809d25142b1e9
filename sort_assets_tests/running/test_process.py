"""A job in a process of its own: its outcome comes back, and nothing of it outlives whoever gave it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sort_assets.errors import ConfigError, TooFewSpikesError
from sort_assets.running.job import Job, Outcome, importable_name
from sort_assets.running.process import IsolatedProcess, isolated
from sort_assets_tests.running import jobs

PARENT = """
import sys
from pathlib import Path
from sort_assets.running.process import isolated
from sort_assets_tests.running import jobs
arguments = {"pid_file": sys.argv[2], "stubborn": True, "hold_the_lock": sys.argv[3] == "locked"}
with isolated(f"{jobs.__name__}:wait_with_a_child", arguments, Path(sys.argv[1]), grace_s=60) as running:
    running.wait()
"""


def name_of(function: Callable[..., object]) -> str:
    return importable_name(function)


def test_the_result_and_the_output_come_back(tmp_path: Path) -> None:
    with isolated(name_of(jobs.add), {"first": 2, "second": 3}, tmp_path, grace_s=5) as running:
        outcome = running.wait()

    assert outcome == Outcome(result={"value": 5})
    assert running.process.returncode == 0
    assert running.output_path.read_text() == "adding\n"


def test_a_classified_failure_comes_back_as_itself(tmp_path: Path) -> None:
    with isolated(name_of(jobs.find_too_few_spikes), {}, tmp_path, grace_s=5) as running:
        outcome = running.wait()

    assert outcome is not None
    error = outcome.error
    assert type(error) is TooFewSpikesError
    assert (error.message, error.remedy, error.stage) == ("Only 3 spikes.", "Record longer.", "detection")
    assert error.diagnostics == {"spikes_found": 3}


def test_any_other_exception_comes_back_as_its_traceback(tmp_path: Path) -> None:
    with isolated(name_of(jobs.divide_by_zero), {}, tmp_path, grace_s=5) as running:
        outcome = running.wait()

    assert outcome is not None
    assert outcome.error is None
    assert outcome.traceback is not None
    assert "ZeroDivisionError: division by zero" in outcome.traceback
    assert "ZeroDivisionError" in running.output_path.read_text()


def test_a_process_that_dies_has_no_outcome_but_an_exit_status(tmp_path: Path) -> None:
    with isolated(name_of(jobs.kill_itself), {}, tmp_path, grace_s=5) as running:
        outcome = running.wait()

    assert outcome is None
    assert running.process.returncode == -signal.SIGKILL


def test_the_process_can_read_nothing_from_its_stdin(tmp_path: Path) -> None:
    with isolated(name_of(jobs.say), {"pid_file": str(tmp_path / "pid")}, tmp_path, grace_s=5) as running:
        outcome = running.wait()

    assert outcome == Outcome(result={"value": ""})


def test_whoever_waits_is_told_now_and_then_that_it_goes_on(tmp_path: Path) -> None:
    told: list[float] = []

    with isolated(
        name_of(jobs.wait_with_a_child), {"pid_file": str(tmp_path / "pids")}, tmp_path, grace_s=1
    ) as running:

        def on_poll() -> None:
            told.append(time.monotonic())
            if len(told) == 3:
                running.process.kill()

        outcome = running.wait(on_poll)

    assert outcome is None
    assert len(told) == 3
    assert 0.5 < told[2] - told[1] < 5


def test_a_stubborn_process_is_gone_with_its_child_when_the_block_fails(tmp_path: Path) -> None:
    arguments = {"pid_file": str(tmp_path / "pids"), "stubborn": True}
    processes = []

    with suppress(RuntimeError), isolated(name_of(jobs.wait_with_a_child), arguments, tmp_path, grace_s=0.5):
        processes = _processes(tmp_path / "pids")
        raise RuntimeError

    assert len(processes) == 2
    _assert_gone(processes)


@pytest.mark.slow
@pytest.mark.parametrize("lock", ["free", "locked"])
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path, lock: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), str(tmp_path / "pids"), lock])
    processes = _processes(tmp_path / "pids")
    group = [process for process in psutil.process_iter() if _group(process) == processes[0].pid]

    parent.kill()
    parent.wait()

    assert len(processes) == 2
    assert len(group) == 3  # and the guard
    _assert_gone([*processes, *group])


def test_nothing_outlives_a_worker_that_is_killed(tmp_path: Path) -> None:
    arguments = {"pid_file": str(tmp_path / "pids")}
    with isolated(name_of(jobs.wait_with_a_child), arguments, tmp_path, grace_s=60) as running:
        worker, child = _processes(tmp_path / "pids")

        worker.kill()
        running.wait()

        _assert_gone([child])  # also before the end of the block, by the guard


def test_what_a_job_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    with isolated(name_of(jobs.end_leaving_a_child), {"pid_file": str(pid_file)}, tmp_path, grace_s=60) as running:
        running.wait()

    assert running.process.returncode == 0
    left = [one for one in psutil.process_iter(["pid", "status"]) if one.pid == int(pid_file.read_text())]
    assert [one for one in left if one.info["status"] != psutil.STATUS_ZOMBIE] == []


def test_a_process_finds_the_modules_that_its_parent_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_a_lab.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "job").mkdir()

    with isolated("of_a_lab:answer", {}, tmp_path / "job", grace_s=5) as running:
        outcome = running.wait()

    assert outcome == Outcome(result={"value": 42})


def test_what_another_process_can_not_import_is_refused_with_the_way_out() -> None:
    def local() -> None: ...

    with pytest.raises(ConfigError, match="another process can't import") as refused:
        importable_name(local)

    assert "execution.isolation to in_process" in refused.value.remedy


def test_a_job_survives_being_written(tmp_path: Path) -> None:
    job = Job(function="module:name", arguments={"a": [1, {"b": None}]}, import_path=["/somewhere"])

    job.write(tmp_path)

    assert Job.read(tmp_path) == job


def _processes(pid_file: Path) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while not pid_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [psutil.Process(int(word)) for word in pid_file.read_text().split()]


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_an_isolated_process_names_its_output(tmp_path: Path) -> None:
    running = IsolatedProcess(subprocess.Popen(["true"]), tmp_path)

    assert running.wait() is None
    assert running.output_path == tmp_path / "sorter.log"
