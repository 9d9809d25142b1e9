"""Real processes for the watchdogs to watch, each the leader of its own group, none left behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from sort_assets.running.audit import AuditLog


class Start(Protocol):
    """Starts Python code as a process of its own, which prints a line when it is ready."""

    def __call__(self, code: str, *words: object) -> "subprocess.Popen[str]": ...


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def starting(code: str, *words: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", code, *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline(), "the process ended before it was ready"
        return process

    yield starting

    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit" / "watchdogs.jsonl")
