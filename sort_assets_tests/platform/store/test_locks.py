"""Locks: one holder at a time, on the file that everybody else sees."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sort_assets.platform.store.locks import Locked, exclusive_lock, is_locked

COUNTER = """
import sys, time
from pathlib import Path
from sort_assets.platform.store.locks import Locked, exclusive_lock
lock, counter = Path(sys.argv[1]), Path(sys.argv[2])
for turn in range(200):
    with exclusive_lock(lock, wait=True):
        counter.write_text(str(int(counter.read_text()) + 1))
        if turn % 2:
            lock.unlink()
"""


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "lock"), pytest.raises(Locked), exclusive_lock(tmp_path / "lock"):
        pass

    with exclusive_lock(tmp_path / "lock"):
        pass


def test_a_lock_is_never_one_on_a_file_that_its_last_holder_removed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    seen: list[str] = []

    def second() -> None:
        with exclusive_lock(lock, wait=True):
            try:
                with exclusive_lock(lock):
                    seen.append("a third holder")
            except Locked:
                seen.append("alone")

    with exclusive_lock(lock):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)  # it has opened the file and waits
        lock.unlink()
    thread.join(timeout=10)

    assert seen == ["alone"]


def test_processes_that_also_remove_the_file_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    words = [sys.executable, "-c", COUNTER, str(tmp_path / "lock"), str(counter)]

    processes = [subprocess.Popen(words) for _ in range(4)]

    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert counter.read_text() == "800"


def test_everybody_may_lock_the_file_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with exclusive_lock(tmp_path / "lock"):
            pass
    finally:
        os.umask(before)

    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o666


def test_a_file_that_is_there_is_not_opened_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").touch()
    real_open, seen = os.open, []

    # Stands for a kernel with fs.protected_regular, which is a setting of the whole machine.
    def watched(path: str, flags: int, *mode: int) -> int:
        seen.append(flags & os.O_CREAT)
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, "open", watched)
    with exclusive_lock(tmp_path / "lock"):
        pass

    assert set(seen) == {0}


def test_whether_it_is_locked_can_be_asked_without_making_or_taking_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    absent = is_locked(lock)
    made = lock.exists()

    with exclusive_lock(lock):
        held = is_locked(lock)

    assert (absent, made, held, is_locked(lock)) == (False, False, True, False)


def test_the_folder_of_a_lock_is_made_on_request(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive_lock(tmp_path / "folder/lock"):
        pass

    with exclusive_lock(tmp_path / "folder/lock", make_folder=True):
        assert is_locked(tmp_path / "folder/lock")
