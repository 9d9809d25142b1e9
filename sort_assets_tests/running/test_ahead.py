"""A process that is started ahead of its job: it gets the device late, and nothing of it is left where it gets none."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sort_assets.running.ahead import has_opened, started_ahead
from sort_assets.running.job import Outcome, importable_name
from sort_assets.running.process import isolated
from sort_assets_tests.running import jobs

PREPARE = importable_name(jobs.prepare)
JOB = importable_name(jobs.device)
PARENT = """
import sys, time
from sort_assets.running.ahead import started_ahead
with started_ahead(sys.argv[1], {"pid_file": sys.argv[2]}, 1):
    time.sleep(600)
"""


def test_it_is_told_its_device_when_it_is_prepared_and_the_next_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with started_ahead(PREPARE, {"pid_file": str(pid_file)}, 2) as ahead:
        prepared = _process(pid_file)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")

        with isolated(JOB, {}, tmp_path, grace_s=5, ahead=ahead.take()) as running:
            ahead.start()
            outcome = running.wait()
        following = _process(pid_file, other_than=prepared.pid)

    assert outcome == Outcome(result={"value": [prepared.pid, "GPU-aaaa"]})
    assert running.output_path.read_text() == "on the device\n"
    _assert_gone([prepared, following])  # the second was of no use


def test_where_it_has_died_another_one_does_the_job(tmp_path: Path) -> None:
    with started_ahead(PREPARE, {"pid_file": str(tmp_path / "pid")}, 1) as ahead:
        prepared = _process(tmp_path / "pid")
        prepared.kill()

        with isolated(JOB, {}, tmp_path, grace_s=5, ahead=ahead.take()) as running:
            outcome = running.wait()

    assert outcome is not None
    assert outcome.result is not None
    assert outcome.result["value"][0] == running.process.pid != prepared.pid


def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, PREPARE, str(tmp_path / "pid")])
    prepared = _process(tmp_path / "pid")
    group = [one for one in psutil.process_iter() if _group(one) == prepared.pid]

    parent.kill()
    parent.wait()

    assert len(group) == 2  # and the guard
    _assert_gone([prepared, *group])


def test_a_process_knows_which_devices_it_has_opened(tmp_path: Path) -> None:
    with (tmp_path / "nvidiactl").open("w"):
        assert has_opened(f"{tmp_path}/nvidia")
    assert not has_opened(f"{tmp_path}/nvidia")


def _process(pid_file: Path, *, other_than: int = 0) -> psutil.Process:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if pid_file.exists() and (pid := int(pid_file.read_text())) != other_than:
            return psutil.Process(pid)
        time.sleep(0.02)
    raise AssertionError("it was never prepared")


def _group(process: psutil.Process) -> int | None:
    with suppress(ProcessLookupError, PermissionError):
        return os.getpgid(process.pid)
    return None


def _assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
