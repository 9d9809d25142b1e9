"""A server of `sort-assets up` that dies is started again; what it started goes on until the end."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sort_assets.platform.execution import supervised_server
from sort_assets.platform.execution.supervised_server import SupervisedServer

CHILD = """
import subprocess, sys, time
from pathlib import Path
if len(sys.argv) > 1:
    words = [sys.executable, "-c", "import time; time.sleep(60)", *sys.argv[1:]]
    Path("child").write_text(str(subprocess.Popen(words).pid))
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the module of a server that starts a process with the words that it is given."""
    (tmp_path / "soon_killed.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def serving(*command: str, needs_code_server: bool = False) -> Iterator[SupervisedServer]:
    server = SupervisedServer("the server", list(command), needs_code_server=needs_code_server)
    try:
        yield server
    finally:
        server.end()


def wait_for(what: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_server_started_outlives_its_death_and_ends_with_the_end(folder: Path) -> None:
    with serving("soon_killed", "run worker") as server:
        wait_for(lambda: (folder / "child").exists() and (folder / "child").read_text())
        first, child = server.pid, psutil.Process(int((folder / "child").read_text()))
        os.kill(first, signal.SIGKILL)

        said: list[str] = []
        wait_for(lambda: said.append(server.check() or "") or server.pid != first)

        assert [line for line in said if line] == ["the server ended by itself with status -9; see its output above."]
        assert psutil.pid_exists(server.pid)
        assert child.is_running()
    assert not psutil.pid_exists(server.pid)
    assert not child.is_running()


def test_a_server_whose_code_server_has_died_is_started_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_server, "_CODE_SERVER_EVERY_S", 0.1)
    with serving("soon_killed", "dagster", "api", "grpc", needs_code_server=True) as server:
        wait_for(lambda: (folder / "child").exists() and (folder / "child").read_text())
        first = server.pid
        before = []
        for _ in range(5):
            time.sleep(0.11)
            before.append(server.check())
        os.kill(int((folder / "child").read_text()), signal.SIGKILL)

        said: list[str] = []
        wait_for(lambda: said.append(server.check() or "") or server.pid != first)

        assert before == [None] * 5
        assert [line for line in said if line] == ["The process in which the server loads the code has died."]


def test_a_server_that_never_serves_is_given_up(folder: Path) -> None:
    (folder / "broken.py").write_text("raise SystemExit(3)", encoding="utf-8")
    with serving("broken") as server:
        said: list[str] = []
        wait_for(lambda: said.append(server.check() or "") or server.has_failed)

    assert len([line for line in said if line]) == 3


def test_a_server_for_which_no_process_is_free_is_started_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_server, "_LONGEST_PAUSE_S", 0.2)
    with serving("soon_killed") as server:
        first, popen = server.pid, subprocess.Popen
        os.kill(first, signal.SIGKILL)

        def fails(*words: object, **options: object) -> None:
            monkeypatch.setattr(subprocess, "Popen", popen)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        monkeypatch.setattr(subprocess, "Popen", fails)
        said: list[str] = []
        wait_for(lambda: said.append(server.check() or "") or server.pid != first)

    assert "can't be started at this moment" in [line for line in said if line][1]
