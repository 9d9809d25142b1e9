"""Questions that are given up: what is left of the processes that asked them."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sort_assets.machine import bounded_child
from sort_assets.machine.bounded_child import NoAnswerError, ask_child

HANGS = """
import os, sys, time
print(os.getpid(), file=open(sys.argv[1], "a"), flush=True)
time.sleep(600)
"""


def test_a_process_that_is_given_up_is_gone(tmp_path: Path) -> None:
    program, pids = tmp_path / "hangs.py", tmp_path / "pids"
    program.write_text(HANGS)

    with pytest.raises(NoAnswerError, match="nothing within 2 s"):
        ask_child(program, str(pids), limit_s=2)

    with pytest.raises(ProcessLookupError):  # nor is it a zombie
        os.kill(int(pids.read_text()), 0)


def test_beside_a_process_that_cannot_be_killed_no_other_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, pids = tmp_path / "hangs.py", tmp_path / "pids"
    program.write_text(HANGS)
    # As of one that sleeps in the kernel, which no test can bring about.
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    monkeypatch.setattr(bounded_child, "_KILLED_WITHIN_S", 0.1)
    with pytest.raises(NoAnswerError):
        ask_child(program, str(pids), limit_s=2)
    start = time.monotonic()

    with pytest.raises(NoAnswerError, match="still hangs") as caught:
        ask_child(program, str(pids), limit_s=60)

    assert caught.value.late
    assert time.monotonic() - start < 30
    (pid,) = map(int, pids.read_text().split())
    os.kill(pid, signal.SIGKILL)
    (stuck,) = bounded_child._stuck.values()
    stuck.wait(timeout=30)
    program.write_text("print('well again')")
    assert ask_child(program, str(pids), limit_s=60) == "well again\n"
