import logging
import os
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sort_assets.running.audit import AuditLog
from sort_assets_tests.running.watchdogs.events import events


def test_an_event_has_a_time_a_message_and_numbers(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "folder" / "watchdogs.jsonl")
    assert not audit.path.exists()

    audit.write("free_disk", "tripped", "Only 0.5 GB are free – µV.", free_bytes=500_000_000)

    (event,) = events(audit)
    assert datetime.fromisoformat(event.pop("time")).utcoffset() == timedelta(0)
    assert event == {
        "watchdog": "free_disk",
        "event": "tripped",
        "message": "Only 0.5 GB are free – µV.",
        "numbers": {"free_bytes": 500_000_000},
    }


def test_threads_do_not_mix_their_lines(audit: AuditLog) -> None:
    def write(name: int) -> None:
        for turn in range(20):
            audit.write(f"thread {name}", "event", "x" * 5000, turn=turn)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = {(entry["watchdog"], entry["numbers"]["turn"]) for entry in events(audit)}
    assert found == {(f"thread {name}", turn) for name in range(4) for turn in range(20)}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_logged_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        AuditLog(Path("/dev/full")).write("free_disk", "tripped", "no room")

    assert "can't be written" in caplog.text
    assert "no room" in caplog.text


def test_a_disk_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    silent = tmp_path / "fifo"
    os.mkfifo(silent)  # opening it to write waits for a reader, as a dead share does for its server
    began = time.monotonic()

    AuditLog(silent).write("io_stall", "tripped", "no answer")

    assert time.monotonic() - began < 5
    reader = os.open(silent, os.O_RDONLY | os.O_NONBLOCK)  # lets the writer go
    os.close(reader)
