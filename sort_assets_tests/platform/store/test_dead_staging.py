"""What a killed writer leaves becomes the record of its failure, with its logs, and goes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sort_assets.errors import MEMORY_LIMIT_GB, HostOutOfMemoryError, SorterTimeoutError, StepCrashedError
from sort_assets.platform.store.dead_staging import (
    leftovers,
    living_staging,
    record_out_of_memory,
    remove_dead_staging,
)
from sort_assets.platform.store.failures import failed_attempts, failure_folder, record_failure
from sort_assets.platform.store.store import Store
from sort_assets.running.audit import AuditLog
from sort_assets_tests.platform.store.writers import WRITER, kill, killed_writer, publish, start

SORT = {
    "sorter/sorter.log": "starting\nclustering\n",
    "sorter/spikeinterface/sorter_output/kilosort4.log": "First clustering\n",
    "sorter/spikeinterface/sorter_output/recording.dat": b"large",
}

OUT_OF_MEMORY = HostOutOfMemoryError("Job 7 is OUT_OF_MEMORY.", remedy="Ask for more.", **{MEMORY_LIMIT_GB: 16})


def test_a_killed_sort_is_remembered_by_the_next_attempt_of_its_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = datetime.now(UTC)
    killed_writer(store, "sorting", tmp_path / "files", SORT, run_id="run", attempt=2)

    with store.stage("rec", "sorting", run_id="run", attempt=3):
        (attempt,) = failed_attempts(store, "rec", "sorting", run_id="run")

    error = attempt.error
    assert type(error) is StepCrashedError
    assert error.log_excerpt == "starting\nclustering"
    assert error.diagnostics["host"] == attempt.host
    assert error.remedy
    assert (attempt.attempt, attempt.retried, attempt.scaled) == (2, True, {})
    assert before - timedelta(seconds=1) <= attempt.time <= datetime.now(UTC)


def test_what_an_engine_says_of_the_end_counts_more_than_that_it_was_sudden(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", SORT, run_id="run", attempt=1)

    record_out_of_memory(store, "rec", "sorting", run_id="run", error=OUT_OF_MEMORY)

    (attempt,) = failed_attempts(store, "rec", "sorting", run_id="run")
    assert type(attempt.error) is HostOutOfMemoryError
    assert attempt.error.message == OUT_OF_MEMORY.message
    assert attempt.error.diagnostics == {MEMORY_LIMIT_GB: 16}
    assert (attempt.attempt, attempt.retried) == (1, True)
    assert attempt.error.log_excerpt == "starting\nclustering"


def test_an_attempt_that_has_left_nothing_is_remembered_and_another_run_is_not_said_to_lack_memory(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", SORT, run_id="another", attempt=1)

    record_out_of_memory(store, "rec", "sorting", run_id="run", error=OUT_OF_MEMORY, host="n1")

    (of_another,) = failed_attempts(store, "rec", "sorting", run_id="another")
    (attempt,) = failed_attempts(store, "rec", "sorting", run_id="run")
    assert type(of_another.error) is StepCrashedError
    assert type(attempt.error) is HostOutOfMemoryError
    assert (attempt.attempt, attempt.retried, attempt.host) == (1, True, "n1")


def test_an_attempt_whose_host_can_not_be_reached_is_remembered_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "files").mkdir()
    writer = start(WRITER, store.root, "sorting", "run", "2", tmp_path / "files")  # its lock is still held

    recorded = record_out_of_memory(store, "rec", "sorting", run_id="run", error=OUT_OF_MEMORY, host="n1")
    kill(writer)
    remove_dead_staging(store, "rec", "sorting", run_id="run")

    (attempt,) = failed_attempts(store, "rec", "sorting")
    assert attempt == recorded
    assert type(attempt.error) is HostOutOfMemoryError
    assert (attempt.attempt, attempt.host) == (2, "n1")


def test_its_logs_are_kept_and_the_rest_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", SORT)

    remove_dead_staging(store, "rec", "sorting")

    (attempt,) = failed_attempts(store, "rec", "sorting")
    folder = failure_folder(store, "rec", "sorting", attempt.version)
    logs = {path.relative_to(folder / "logs").as_posix() for path in folder.rglob("*.log")}
    assert logs == {"sorter.log", "spikeinterface/sorter_output/kilosort4.log"}
    assert list(store.root.rglob("recording.dat")) == []
    assert [path.name for path in store.asset_folder("rec", "sorting").iterdir()] == ["failed"]


def test_a_sort_killed_in_another_run_was_not_retried(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", SORT, run_id="yesterday")

    publish(store, "sorting", run_id="today")

    (attempt,) = failed_attempts(store, "rec", "sorting")
    assert (attempt.run_id, attempt.retried) == ("yesterday", False)


def test_a_step_that_ended_itself_because_its_sorter_held_the_interpreter_hung(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    files = {**SORT, "sorter/hang_traceback.txt": "Timeout (0:10:00)!\nThread 0x1"}
    killed_writer(store, "sorting", tmp_path / "files", files)

    remove_dead_staging(store, "rec", "sorting")

    (attempt,) = failed_attempts(store, "rec", "sorting")
    assert type(attempt.error) is SorterTimeoutError
    assert len(list(store.root.rglob("failed/*/logs/hang_traceback.txt"))) == 1


def test_an_empty_traceback_says_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", {**SORT, "sorter/hang_traceback.txt": ""})

    remove_dead_staging(store, "rec", "sorting")

    assert type(failed_attempts(store, "rec", "sorting")[0].error) is StepCrashedError


@pytest.mark.parametrize("tripped", [SorterTimeoutError, HostOutOfMemoryError])
def test_what_a_watchdog_tripped_for_is_the_cause(tmp_path: Path, tripped: type[Exception]) -> None:
    store = Store(tmp_path / "store")
    audit = AuditLog(tmp_path / "watchdogs.jsonl")
    audit.write("log_inactivity", "watching", "Tolerates 600 s.")
    audit.write("log_inactivity", "tripped", "Silent for 601 s.", error=tripped.__name__)
    files = {**SORT, "sorter/watchdogs.jsonl": audit.path.read_bytes() + b'{"time": "cut of'}
    killed_writer(store, "sorting", tmp_path / "files", files)

    remove_dead_staging(store, "rec", "sorting")

    (attempt,) = failed_attempts(store, "rec", "sorting")
    assert type(attempt.error) is tripped
    assert attempt.error.message == "Silent for 601 s."


def test_a_watchdog_that_only_watched_or_came_too_late_is_not_the_cause(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    audit = AuditLog(tmp_path / "watchdogs.jsonl")
    for event in ("watching", "tripped", "finished"):
        audit.write("log_inactivity", event, event)
    killed_writer(store, "sorting", tmp_path / "files", {**SORT, "sorter/watchdogs.jsonl": audit.path.read_bytes()})

    remove_dead_staging(store, "rec", "sorting")

    assert type(failed_attempts(store, "rec", "sorting")[0].error) is StepCrashedError


def test_a_failure_that_was_recorded_before_the_kill_stays_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", SORT, run_id="run")
    (staging,) = [path for path in leftovers(store.asset_folder("rec", "sorting")) if path.is_dir()]
    known = record_failure(
        store,
        "rec",
        "sorting",
        version=staging.name.removeprefix(".staging-"),
        run_id="run",
        attempt=1,
        error=HostOutOfMemoryError("Killed by the kernel.", remedy="Buy memory."),
        scaled={},
        logs=[],
        retried=True,
    )

    remove_dead_staging(store, "rec", "sorting", run_id="run")

    assert failed_attempts(store, "rec", "sorting") == [known]
    assert leftovers(store.asset_folder("rec", "sorting")) == []


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/part").write_bytes(b"x")
    writer = start(WRITER, store.root, "sorting", "alive", "1", tmp_path / "files")
    folder = store.asset_folder("rec", "sorting")
    try:
        remove_dead_staging(store, "rec", "sorting")

        assert living_staging(folder)
        assert leftovers(folder) == []
        assert len(list(folder.glob(".staging-*/part"))) == 1
    finally:
        kill(writer)
    assert not living_staging(folder)
    assert failed_attempts(store, "rec", "sorting") == []


def test_staging_of_an_older_version_of_this_program_names_no_attempt(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.asset_folder("rec", "binary_dat")
    (folder / ".staging-2026").mkdir(parents=True)
    owner = {"host": "there", "pid": 7, "run_id": "run"}
    (folder / ".staging-2026.lock").write_text(json.dumps(owner), encoding="utf-8")

    remove_dead_staging(store, "rec", "binary_dat")

    (attempt,) = failed_attempts(store, "rec", "binary_dat")
    assert (attempt.host, attempt.attempt, attempt.run_id) == ("there", 1, "run")


def test_staging_that_was_not_removed_to_the_end_goes_without_a_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.asset_folder("rec", "binary_dat")
    (folder / ".staging-2026").mkdir(parents=True)  # its writer has removed the lock: it had ended

    remove_dead_staging(store, "rec", "binary_dat")

    assert list(folder.iterdir()) == []
