"""Daemons that tests start end with the test process, also when that is killed."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sort_assets_tests.fixtures.guard import marked_processes
from sort_assets_tests.fixtures.home import CHECKOUT

_A_DAEMON = """
import os, subprocess, sys, time
from pathlib import Path
from sort_assets_tests.fixtures.guard import guarded
with guarded("TEST_MARK=" + sys.argv[1], Path(sys.argv[2])):
    variables = {**os.environ, "TEST_MARK": sys.argv[1]}
    subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600 &"], env=variables, start_new_session=True, cwd="/").wait()
    print("started", flush=True)
    time.sleep(600)
"""
_A_CLUSTER = """
import sys, time
from sort_assets_tests.fixtures.{module} import {start}
with {start}() as cluster:
    print(getattr(cluster, "folder", None) or cluster.log.parent, flush=True)
    time.sleep(600)
"""


def _until(is_so: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_daemons_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    mark, folder = f"TEST_MARK={tmp_path}", tmp_path / "cluster"
    folder.mkdir()
    words = [sys.executable, "-c", _A_DAEMON, str(tmp_path), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = marked_processes(mark, folder)

        process.kill()

        assert len(started) == 2
        assert _until(lambda: marked_processes(mark, folder) == [], 20)
        assert _until(lambda: not folder.exists(), 5)


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize(
    ("module", "start"),
    [("slurm_cluster", "running_slurm"), ("ray_cluster", "running_ray"), ("postgres", "postgres_server")],
)
def test_a_cluster_ends_when_its_test_process_is_killed(module: str, start: str) -> None:
    try:
        importlib.import_module(f"sort_assets_tests.fixtures.{module}")
    except ImportError as missing:
        pytest.skip(str(missing))
    words = [sys.executable, "-c", _A_CLUSTER.format(module=module, start=start)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode().strip()
        assert said, "the cluster did not start"
        folder = Path(said)
        # Those of PostgreSQL write titles over their command line and their environment.
        named = [one for one in psutil.process_iter() if _works_in(one, folder)]
        started = {*named, *(child for one in named for child in one.children(recursive=True))} - {psutil.Process()}

        process.kill()

        assert len(started) > 1
        _, left = psutil.wait_procs(started, timeout=30)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """Whether a process names a folder in its command line or its environment."""
    try:
        place = Path(f"/proc/{process.pid}")
        texts = [(place / name).read_bytes() for name in ("cmdline", "environ")]
    except OSError:
        return False
    return process.pid != os.getpid() and any(str(folder).encode() in text for text in texts)
