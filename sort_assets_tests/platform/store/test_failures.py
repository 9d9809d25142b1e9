"""The memory of failures: whole records, oldest first, with the ends of the logs, and not too many of them."""

import resource
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sort_assets.errors import DeviceOutOfMemoryError, DiskFullError
from sort_assets.platform.store import failures as failures_module
from sort_assets.platform.store.failures import (
    RECORDS_KEPT,
    FailedAttempt,
    failed_attempts,
    failure_folder,
    record_failure,
)
from sort_assets.platform.store.store import Store

OUT_OF_MEMORY = DeviceOutOfMemoryError(
    "CUDA out of memory.", remedy="Lower batch_size.", stage="final clustering", bytes_asked=4_000
)


def _record(store: Store, number: int = 1, *, run_id: str = "run", **given: Any) -> FailedAttempt:
    values = {"error": OUT_OF_MEMORY, "scaled": {}, "logs": [], "retried": False, "attempt": number, **given}
    return record_failure(store, "rec", "sorting", version=f"2026{number:04}", run_id=run_id, **values)


def test_the_next_process_knows_what_happened(tmp_path: Path) -> None:
    before = datetime.now(UTC)

    _record(Store(tmp_path), 1, scaled={"batch_size": 30_000}, retried=True)

    (attempt,) = failed_attempts(Store(tmp_path), "rec", "sorting")
    error = attempt.error
    assert type(error) is DeviceOutOfMemoryError
    assert (error.message, error.stage, error.diagnostics) == (
        "CUDA out of memory.",
        "final clustering",
        {"bytes_asked": 4_000},
    )
    assert (attempt.run_id, attempt.attempt, attempt.retried) == ("run", 1, True)
    assert attempt.scaled == {"batch_size": 30_000}
    assert attempt.host == socket.gethostname()
    assert before <= attempt.time <= before + timedelta(minutes=1)


def test_attempts_are_told_oldest_first_and_by_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, run_id in ((3, "b"), (1, "a"), (2, "b")):
        _record(store, number, run_id=run_id)

    assert [one.attempt for one in failed_attempts(store, "rec", "sorting")] == [1, 2, 3]
    assert [one.attempt for one in failed_attempts(store, "rec", "sorting", run_id="b")] == [2, 3]
    assert failed_attempts(store, "rec", "waveforms") == []


def test_attempts_of_a_run_keep_their_order_when_the_clock_was_set_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _record(store, 5, attempt=1)
    _record(store, 4, attempt=2)

    assert [one.attempt for one in failed_attempts(store, "rec", "sorting", run_id="run")] == [1, 2]


def test_parameters_that_json_does_not_know_do_not_cost_the_record(tmp_path: Path) -> None:
    attempt = _record(Store(tmp_path), scaled={"path": tmp_path})

    assert attempt.scaled == {"path": str(tmp_path)}
    assert failed_attempts(Store(tmp_path), "rec", "sorting") == [attempt]


def test_logs_of_all_groups_are_kept_apart(tmp_path: Path) -> None:
    store, staging = Store(tmp_path / "store"), tmp_path / "staging"
    names = ["sorter-group-0/sorter.log", "sorter-group-1/sorter.log"]
    for name in names:
        (staging / name).parent.mkdir(parents=True)
        (staging / name).write_text(name)

    _record(store, logs=[*(staging / name for name in names), staging / "absent.log"])

    kept = failure_folder(store, "rec", "sorting", "20260001") / "logs"
    assert {path.relative_to(kept).as_posix(): path.read_text() for path in kept.rglob("*.log")} == {
        name: name for name in names
    }


def test_of_a_huge_log_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "MAX_LOG_BYTES", 1_000)
    log = tmp_path / "sorter.log"
    log.write_bytes(b"a" * 5_000 + b"the end")

    _record(Store(tmp_path / "store"), logs=[log])

    kept = (failure_folder(Store(tmp_path / "store"), "rec", "sorting", "20260001") / "logs/sorter.log").read_bytes()
    assert kept.startswith(b"[sort_assets left out the first 4007 bytes]\naaa")
    assert kept.endswith(b"the end")
    assert len(kept) < 1_100


@pytest.mark.parametrize("content", ["", "{", '{"version": "v"}', '{"failure": {"classes": []}}'])
def test_a_damaged_record_is_left_out_with_a_warning(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    good = _record(store, 1)
    damaged = failure_folder(store, "rec", "sorting", "20260002") / "failure.json"
    damaged.parent.mkdir()
    damaged.write_text(content)

    assert failed_attempts(store, "rec", "sorting") == [good]
    assert str(damaged) in caplog.text


def test_a_record_whose_error_can_not_be_made_again_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = _record(store, 1)
    path = failure_folder(store, "rec", "sorting", "20260001") / "failure.json"
    path.write_text(good.model_copy(update={"failure": {"classes": ["DiskFullError"]}}).model_dump_json())

    assert failed_attempts(store, "rec", "sorting") == []


def test_a_class_that_this_version_does_not_know_is_read_as_its_parent(tmp_path: Path) -> None:
    class OfTomorrowError(DiskFullError):
        """Known only here, and not to the reader."""

    store = Store(tmp_path)
    attempt = _record(store, error=OfTomorrowError("Full.", remedy="Empty it."))
    path = failure_folder(store, "rec", "sorting", attempt.version) / "failure.json"
    path.write_text(path.read_text().replace("OfTomorrowError", "OfTheDayAfterError"))

    (read,) = failed_attempts(store, "rec", "sorting")
    assert type(read.error) is DiskFullError


def test_the_oldest_records_are_forgotten_with_all_that_was_kept_of_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _record(store, 1, run_id="run1")
    (failure_folder(store, "rec", "sorting", "20260001") / "work").mkdir()

    for number in range(2, RECORDS_KEPT + 3):
        _record(store, number, run_id=f"run{number}")

    left = sorted(path.name for path in (tmp_path / "rec/sorting/failed").iterdir())
    assert left == [f"2026{number:04}" for number in range(3, RECORDS_KEPT + 3)]


def test_no_record_of_the_run_that_failed_last_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _record(store, 1, run_id="other")

    for number in range(2, RECORDS_KEPT + 5):
        _record(store, number, run_id="stubborn")

    assert len(failed_attempts(store, "rec", "sorting", run_id="stubborn")) == RECORDS_KEPT + 3
    assert failed_attempts(store, "rec", "sorting", run_id="other") == []


def test_a_log_that_can_not_be_copied_does_not_cost_the_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "sorter.log"
    log.write_bytes(bytes(50_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # no file may be larger

    try:
        attempt = _record(store, logs=[log])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert failed_attempts(store, "rec", "sorting") == [attempt]
    assert "sorter.log' could not be kept" in caplog.text
    assert list(tmp_path.glob("store/**/*.log")) == []


def test_a_failed_attempt_is_no_version_and_no_artefact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _record(store)

    assert store.versions("rec", "sorting") == []
