"""One sort per recording: a second one is told who sorts, and a dead one holds nobody up."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from sort_assets.errors import RecordingBusyError
from sort_assets.platform.store.sort_lock import sort_lock
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.store.writers import SORTER, kill, publish, start


def test_a_second_sort_is_told_who_sorts(tmp_path: Path) -> None:
    sorter = start(SORTER, tmp_path, "first-run")
    try:
        with pytest.raises(RecordingBusyError) as caught, sort_lock(Store(tmp_path), "rec", run_id="second"):
            pytest.fail("two sorts at once")
    finally:
        kill(sorter)

    assert f"run first-run (process {sorter.pid} on {socket.gethostname()})" in caught.value.message
    assert caught.value.diagnostics == {"host": socket.gethostname(), "pid": sorter.pid, "run_id": "first-run"}
    assert "terminate it" in caught.value.remedy


def test_a_killed_sort_holds_nobody_up(tmp_path: Path) -> None:
    kill(start(SORTER, tmp_path, "first-run"))

    with sort_lock(Store(tmp_path), "rec", run_id="second"):
        owner = (tmp_path / "rec/sorting/.sorting.lock").read_text()

    assert f'"pid":{os.getpid()}' in owner
    assert '"run_id":"second"' in owner


def test_an_earlier_attempt_of_the_same_run_is_waited_for(tmp_path: Path) -> None:
    earlier, told = start(SORTER, tmp_path, "run"), list[str]()

    def end(line: str) -> None:
        told.append(line)
        kill(earlier)

    with sort_lock(Store(tmp_path), "rec", run_id="run", log=end):
        pass

    assert len(told) == 1
    assert f"the sort of run run (process {earlier.pid} on {socket.gethostname()})" in told[0]


def test_the_sort_of_a_run_that_is_over_is_waited_for(tmp_path: Path) -> None:
    orphan = start(SORTER, tmp_path, "failed-run")
    store = Store(tmp_path, run_is_over={"failed-run": True}.get)
    with sort_lock(store, "rec", run_id="its-retry", log=lambda _: kill(orphan)):
        pass


def test_a_sort_that_was_given_up_and_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sort_assets.platform.store.sort_lock._GIVEN_UP_PATIENCE_S", 1.5)
    earlier = start(SORTER, tmp_path, "run")
    try:
        with pytest.raises(RecordingBusyError) as caught, sort_lock(Store(tmp_path), "rec", run_id="run"):
            pytest.fail("two sorts at once")
    finally:
        kill(earlier)

    assert "is still locked by the sort of run run" in caught.value.message
    assert f"End process {earlier.pid} on {socket.gethostname()}" in caught.value.remedy


def test_a_sort_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with (
        sort_lock(store, "rec", run_id="a"),
        pytest.raises(RecordingBusyError),
        sort_lock(store, "rec", run_id="b"),
    ):
        pytest.fail("two sorts at once")


def test_other_recordings_are_sorted_meanwhile(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with sort_lock(store, "one", run_id="a"), sort_lock(store, "two", run_id="b"):
        assert store.in_use("one")
        assert store.in_use("two")

    assert not store.in_use("one")


def test_a_failed_sort_leaves_no_empty_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    with (
        pytest.raises(ValueError, match="broken"),
        sort_lock(store, "rec", run_id="a"),
        store.stage("rec", "sorting", run_id="a"),
    ):
        raise ValueError("broken")

    assert list(store.root.iterdir()) == []


def test_a_sort_that_succeeds_keeps_its_result(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with sort_lock(store, "rec", run_id="a"):
        artefact = publish(store, "sorting")

    assert store.artefact("rec", "sorting") == artefact
    assert not (artefact.path.parent / ".sorting.lock").exists()


def test_looking_whether_a_recording_is_in_use_turns_no_sort_away(tmp_path: Path) -> None:
    store, stop = Store(tmp_path), threading.Event()
    failed: list[OSError] = []
    kill(start(SORTER, tmp_path, "dead"))  # its lock file is still there to be looked at

    def look() -> None:
        while not stop.is_set():
            try:
                store.in_use("rec")
            except OSError as error:
                failed.append(error)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            with sort_lock(store, "rec", run_id="a"):
                time.sleep(0.001)
    finally:
        stop.set()
        for looker in lookers:
            looker.join()

    assert failed == []
