"""One step's attempts: a failure is recorded, judged, and felt by the next attempt of the run, or of its retry."""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pytest

from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.errors import (
    BadChannelsError,
    DeviceOutOfMemoryError,
    DiskFullError,
    GpuOverheatedError,
    HostOutOfMemoryError,
    SortAssetsError,
    SorterCrashedError,
    SorterTimeoutError,
    StepCrashedError,
    UnexpectedError,
)
from sort_assets.platform.pipeline import attempts as attempts_module
from sort_assets.platform.pipeline.attempts import Attempt
from sort_assets.platform.pipeline.failure_rendering import classified
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.failures import (
    RECORDS_KEPT,
    FailedAttempt,
    failed_attempts,
    failure_folder,
    record_failure,
)
from sort_assets.platform.store.garbage import collect_garbage
from sort_assets.platform.store.layout import FAILED, FAILURE_NAME, WORK
from sort_assets.platform.store.store import Store

CHUNK, TRAINING = "execution.chunk_duration_s", "sorter.params.scheme2_training_duration_sec"
CRASH = StepCrashedError("The step's process was killed.", remedy="Look at `journalctl -k`.", log_excerpt="last line")
HANG = SorterTimeoutError("No sign of life.", remedy="Look at its log.")
OUT_OF_MEMORY = DeviceOutOfMemoryError(
    "The GPU's memory is used up.",
    remedy="Use a larger GPU.",
    stage="spike detection",
    log_excerpt="Tried to allocate 2 GiB",
    bytes_asked=2 << 30,
)


def configured(*, params: dict[str, Any] | None = None, **execution: Any) -> SortingPipelineConfig:
    """Of a sorter that takes less of the chunk's duration first, and then of the training's."""
    return SortingPipelineConfig.model_validate(
        {
            "sorter": {"name": "mountainsort5", "params": params or {}},
            "execution": {"n_jobs": 1, "chunk_duration_s": 1.0, **execution},
        }
    )


RETRY: dict[str, Any] = {"run_id": "run-b", "runs_before": ["run-a"]}
"""What Dagster starts by itself after run-a was lost with its node."""


class Steps:
    """Attempts of steps on one store, and what they said."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.said: list[str] = []

    @contextmanager
    def attempt(
        self,
        config: SortingPipelineConfig,
        number: int = 1,
        *,
        run_id: str = "run-a",
        recording: str = "rec",
        runs_before: Sequence[str] = (),
    ) -> Iterator[Attempt]:
        """An attempt, not yet running."""
        with self.store.stage(recording, "sorting", run_id=run_id, attempt=number) as staging:
            yield Attempt(self.store, staging, ResolvedConfig(config, {}), None, self.said.append, runs_before)

    def fail(
        self,
        config: SortingPipelineConfig,
        work: BaseException | Callable[[Attempt], object],
        number: int = 1,
        **run: Any,
    ) -> Any:
        """Let an attempt fail, with an exception or by its work; returns what Dagster is given."""
        with (
            pytest.raises((dg.Failure, dg.RetryRequested)) as raised,
            self.attempt(config, number, **run) as attempt,
            attempt.run(),
        ):
            _do(work, attempt)
        return raised.value

    def refused(self, config: SortingPipelineConfig, number: int) -> dg.Failure:
        """Let an attempt end before it begins; returns what Dagster is given."""

        def begin(attempt: Attempt) -> None:
            raise AssertionError("it began")

        failure = self.fail(config, begin, number)
        assert isinstance(failure, dg.Failure)
        assert "it began" not in str(failure.description)
        return failure

    def die(self, error: SortAssetsError, number: int, **given: Any) -> None:
        """Leave the record of an attempt whose process was killed, as the next writer makes it."""
        values = {"logs": [], **given}
        record_failure(
            *(self.store, "rec", "sorting"),
            version=f"2026{number}",
            run_id="run-a",
            attempt=number,
            error=error,
            scaled={},
            retried=True,
            **values,
        )

    @property
    def records(self) -> list[FailedAttempt]:
        return failed_attempts(self.store, "rec", "sorting")


def _do(work: BaseException | Callable[[Attempt], object], attempt: Attempt) -> None:
    if isinstance(work, BaseException):
        raise work
    work(attempt)


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path / "store")


def metadata(failure: dg.Failure) -> dict[str, Any]:
    return {name: value.value for name, value in failure.metadata.items()}


def test_a_step_that_ran_out_of_memory_is_tried_again_and_leaves_a_record(steps: Steps) -> None:
    asked = steps.fail(configured(), OUT_OF_MEMORY)

    assert isinstance(asked, dg.RetryRequested)
    assert asked.max_retries == 1
    assert asked.seconds_to_wait == 0
    (record,) = steps.records
    assert (record.run_id, record.attempt, record.retried, record.scaled) == ("run-a", 1, True, {})
    assert record.error.to_dict() == OUT_OF_MEMORY.to_dict()
    assert steps.said == [
        "DeviceOutOfMemoryError: The GPU's memory is used up. Memory ran out; retry 1 of 3 takes less."
    ]


def test_each_next_attempt_of_the_run_starts_with_less(steps: Steps) -> None:
    ran_with = []

    def run_out(attempt: Attempt) -> None:
        config = attempt.settings.config
        ran_with.append((config.execution.chunk_duration_s, config.sorter.params, attempt.settings.scaled))
        raise OUT_OF_MEMORY

    asked = [steps.fail(configured(), run_out, number) for number in (1, 2, 3)]

    smaller, shorter = {CHUNK: [1.0, 0.1]}, {CHUNK: [1.0, 0.1], TRAINING: [None, 150]}
    assert ran_with == [(1.0, {}, {}), (0.1, {}, smaller), (0.1, {"scheme2_training_duration_sec": 150}, shorter)]
    assert [retry.max_retries for retry in asked] == [1, 2, 3]
    assert [record.scaled for record in steps.records] == [{}, smaller, shorter]
    assert f"Attempt 2 takes less memory: {CHUNK} 1.0 -> 0.1." in steps.said
    assert f"Attempt 3 takes less memory: {TRAINING} default -> 150, {CHUNK} 1.0 -> 0.1." in steps.said


@pytest.mark.parametrize("other", [{"run_id": "run-b"}, {"recording": "another"}])
def test_another_run_or_recording_starts_as_configured(steps: Steps, other: dict[str, str]) -> None:
    steps.fail(configured(), OUT_OF_MEMORY)

    with steps.attempt(configured(), 1, **other) as attempt, attempt.run():
        scaled = attempt.settings.scaled
        ran_with = attempt.settings.config.execution.chunk_duration_s

    assert attempt.earlier == []
    assert scaled == {}
    assert ran_with == 1.0


def test_the_retry_of_a_run_whose_node_died_starts_with_what_its_attempts_taught(steps: Steps) -> None:
    steps.fail(configured(), OUT_OF_MEMORY)
    steps.die(CRASH, 2)

    with steps.attempt(configured(), **RETRY) as attempt, attempt.run():
        ran_with = attempt.settings.config.execution.chunk_duration_s

    assert [type(one.error) for one in attempt.earlier] == [DeviceOutOfMemoryError, StepCrashedError]
    assert ran_with == 0.1


def test_the_retry_of_a_run_does_not_count_what_was_made_good_before(steps: Steps) -> None:
    steps.fail(configured(), OUT_OF_MEMORY)
    with steps.attempt(configured(), 2) as attempt, attempt.run():
        attempt.staging.publish(data_version="1", config={}, config_sources={}, inputs={}, details=Details())

    with steps.attempt(configured(), **RETRY) as again:
        assert again.earlier == []


@pytest.mark.parametrize(
    ("most", "error", "reason"),
    [
        ({"crash_retry_max": 1}, CRASH, "It crashed 2 times, and execution.crash_retry_max is 1."),
        ({"oom_retry_max": 1}, OUT_OF_MEMORY, "Memory ran out 2 times, and execution.oom_retry_max is 1."),
        ({}, HANG, "It went wrong in the same way before."),
    ],
    ids=["crash", "memory", "hang"],
)
def test_the_retry_of_a_run_has_only_the_tries_that_are_left(
    steps: Steps, most: dict[str, int], error: SortAssetsError, reason: str
) -> None:
    steps.die(error, 1)

    failure = steps.fail(configured(**most), error, **RETRY)

    assert isinstance(failure, dg.Failure)
    assert metadata(failure)["retry"] == reason
    assert len(metadata(failure)["attempts"].records) == 2


def test_the_retry_of_a_run_begins_even_where_the_step_may_not_crash_again(steps: Steps) -> None:
    steps.die(CRASH, 1)  # with its node

    with steps.attempt(configured(crash_retry_max=0), **RETRY) as attempt, attempt.run():
        began = True

    assert began


def test_in_the_retry_of_a_run_a_killed_step_begins_again_only_so_often(steps: Steps) -> None:
    steps.die(CRASH, 1)

    failure = steps.fail(configured(crash_retry_max=1), AssertionError("it began"), 2, **RETRY)

    assert isinstance(failure, dg.Failure)
    assert metadata(failure)["failure_class"] == "StepCrashedError"
    assert metadata(failure)["retry"] == "It crashed 2 times, and execution.crash_retry_max is 1."


def test_when_memory_ran_out_too_often_everything_that_was_tried_is_told(steps: Steps) -> None:
    steps.fail(configured(oom_retry_max=1), OUT_OF_MEMORY)

    failure = steps.fail(configured(oom_retry_max=1), OUT_OF_MEMORY, 2)

    assert isinstance(failure, dg.Failure)
    assert failure.allow_retries is False
    assert failure.description == f"DeviceOutOfMemoryError: {OUT_OF_MEMORY}"
    shown = metadata(failure)
    assert shown["failure_class"] == "DeviceOutOfMemoryError"
    assert shown["remedy"] == "Use a larger GPU."
    assert shown["stage"] == "spike detection"
    assert shown["diagnostics"] == {"bytes_asked": 2 << 30}
    assert "Tried to allocate 2 GiB" in shown["log_excerpt"]
    assert shown["retry"] == "Memory ran out 2 times, and execution.oom_retry_max is 1."
    rows = [row.data for row in shown["attempts"].records]
    assert [(row["attempt"], row["failure"], row["stage"], row["ran with"]) for row in rows] == [
        (1, "DeviceOutOfMemoryError", "spike detection", "as configured"),
        (2, "DeviceOutOfMemoryError", "spike detection", f"{CHUNK} 1.0 -> 0.1"),
    ]
    assert [record.retried for record in steps.records] == [True, False]


def test_when_nothing_can_take_less_there_is_no_other_attempt(steps: Steps) -> None:
    at_the_floor = configured(chunk_duration_s=0.1, params={"scheme2_training_duration_sec": 60})

    failure = steps.fail(at_the_floor, OUT_OF_MEMORY)

    assert isinstance(failure, dg.Failure)
    assert metadata(failure)["retry"] == "No parameter is left that could take less memory in this stage."
    assert [record.retried for record in steps.records] == [False]


def test_a_crash_is_tried_again_without_taking_less(steps: Steps) -> None:
    crash = SorterCrashedError("It got SIGSEGV.", remedy="Look at its log.")

    first = steps.fail(configured(), crash)
    with steps.attempt(configured(), 2) as attempt, attempt.run():
        scaled = attempt.settings.scaled

    assert isinstance(first, dg.RetryRequested)
    assert scaled == {}


@pytest.mark.parametrize(
    ("known", "number"),
    [([], 4), ([CRASH, CRASH, CRASH], 4), ([CRASH, CRASH], 4), ([OUT_OF_MEMORY, CRASH, CRASH], 5)],
    ids=["unknown", "known", "some known", "and something else"],
)
def test_a_step_that_crashed_too_often_does_not_begin(steps: Steps, known: list[SortAssetsError], number: int) -> None:
    for died, error in enumerate(known, 1):
        steps.die(error, died)

    failure = steps.refused(configured(crash_retry_max=2), number)

    assert failure.allow_retries is False
    shown = metadata(failure)
    assert shown["failure_class"] == "StepCrashedError"
    assert "journalctl" in shown["remedy"]
    assert shown["retry"] == "It crashed 3 times, and execution.crash_retry_max is 2."
    assert len(steps.records) == len(known)


@pytest.mark.parametrize(
    ("known", "number"),
    [([], 1), ([], 3), ([CRASH, CRASH], 3), ([HANG], 2), ([OUT_OF_MEMORY, HANG, CRASH, CRASH], 5)],
    ids=["none", "two unknown", "two", "a hang", "two and others"],
)
def test_what_was_killed_less_often_begins_again(steps: Steps, known: list[SortAssetsError], number: int) -> None:
    for died, error in enumerate(known, 1):
        steps.die(error, died)

    with steps.attempt(configured(crash_retry_max=2), number) as attempt, attempt.run():
        began = True

    assert began


def test_a_failure_after_crashes_tells_of_them_and_where_the_logs_are(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "sorter.log").write_text("last line")
    steps.die(CRASH, 1, logs=[tmp_path / "sorter.log"])

    failure = steps.refused(configured(crash_retry_max=0), 2)

    shown = metadata(failure)
    assert [(row.data["attempt"], row.data["failure"]) for row in shown["attempts"].records] == [
        (1, "StepCrashedError")
    ]
    assert "last line" in shown["log_excerpt"]
    assert (Path(shown["logs"]) / "sorter.log").read_text() == "last line"


def test_a_sorter_that_hung_twice_and_took_its_step_along_is_said_to_have_hung(steps: Steps) -> None:
    steps.die(HANG, 1)
    steps.die(HANG, 2)

    failure = steps.refused(configured(), 3)

    assert metadata(failure)["failure_class"] == "SorterTimeoutError"
    assert metadata(failure)["retry"] == "It went wrong in the same way before."


@pytest.mark.parametrize(("seconds_ago", "waited_s"), [(0, 300), (100, 200), (1000, 0)])
def test_a_step_that_died_of_a_hot_gpu_waits_until_it_has_cooled(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, seconds_ago: int, waited_s: int
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(attempts_module, "time", SimpleNamespace(sleep=waited.append))  # minutes
    hot = GpuOverheatedError("The GPU is at 99 degrees.", remedy="Look at its fans.")
    steps.die(hot, 1, time=datetime.now(UTC) - timedelta(seconds=seconds_ago))

    with steps.attempt(configured(), 2) as attempt, attempt.run():
        pass

    assert waited == [pytest.approx(waited_s, abs=5)]


def test_memory_that_python_is_refused_is_the_machines(steps: Steps) -> None:
    with pytest.raises(dg.RetryRequested), steps.attempt(configured()) as attempt, attempt.run():
        np.ones(1 << 58)

    (record,) = steps.records
    assert type(record.error) is HostOutOfMemoryError
    assert "n_jobs" in record.error.remedy
    assert "np.ones(1 << 58)" in record.error.log_excerpt
    assert record.error.stage == "sorting"


def test_a_full_disk_is_said_to_be_full_and_not_tried_again(steps: Steps) -> None:
    with (
        pytest.raises(dg.Failure) as raised,
        steps.attempt(configured()) as attempt,
        attempt.run(),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"a sample")

    assert raised.value.allow_retries is False
    shown = metadata(raised.value)
    assert shown["failure_class"] == "DiskFullError"
    assert "sort-assets gc" in shown["remedy"]
    assert [type(record.error) for record in steps.records] == [DiskFullError]


def test_a_used_up_quota_is_a_full_disk_and_names_the_file() -> None:
    # A quota can't be set up here.
    failure = classified(OSError(errno.EDQUOT, "Disk quota exceeded", "/store/traces.dat"), "binary_dat")

    assert type(failure) is DiskFullError
    assert failure.diagnostics["path"] == "/store/traces.dat"
    assert failure.stage == "binary_dat"


def test_a_file_that_is_missing_is_nobody_elses_fault() -> None:
    assert type(classified(FileNotFoundError(errno.ENOENT, "No such file"), "sorting")) is UnexpectedError


def test_what_nobody_expects_is_shown_with_its_traceback_and_not_tried_again(steps: Steps) -> None:
    with pytest.raises(dg.Failure) as raised, steps.attempt(configured()) as attempt, attempt.run():
        {}["no such key"]

    assert raised.value.allow_retries is False
    shown = metadata(raised.value)
    assert shown["failure_class"] == "UnexpectedError"
    assert "KeyError: 'no such key'" in str(raised.value.description)
    assert '{}["no such key"]' in shown["log_excerpt"]
    assert "report it" in shown["remedy"]
    unexpected = raised.value.__cause__
    assert isinstance(unexpected, UnexpectedError)
    assert isinstance(unexpected.__cause__, KeyError)
    (record,) = steps.records
    assert record.error.to_dict() == unexpected.to_dict()


@pytest.mark.parametrize("verdict", [dg.Failure("somebody else's"), dg.RetryRequested(max_retries=7)])
def test_what_dagster_was_told_already_is_not_judged_again(steps: Steps, verdict: Exception) -> None:
    raised = steps.fail(configured(), verdict)

    assert raised is verdict
    assert steps.records == []


def test_logs_of_the_sorter_are_kept_with_the_record_and_its_work_is_not(steps: Steps) -> None:
    steps.fail(configured(), _sort_and_run_out)

    assert _kept(steps) == {"failure.json": None, "logs/sorter.log": "Detecting spikes"}


def test_the_work_of_a_failed_sort_is_kept_if_asked_for(steps: Steps) -> None:
    steps.fail(configured(keep_failed_work=True), _sort_and_run_out)

    assert list(steps.store.asset_folder("rec", "sorting").glob(".staging-*")) == []
    assert _kept(steps) == {
        "failure.json": None,
        "logs/sorter.log": "Detecting spikes",
        f"{WORK}/sorter/sorter.log": "Detecting spikes",
        f"{WORK}/sorter/temp_wh.dat": "whitened",
    }


def test_work_that_is_kept_is_removed_with_its_record(steps: Steps) -> None:
    steps.fail(configured(keep_failed_work=True), OUT_OF_MEMORY)
    (kept,) = steps.store.asset_folder("rec", "sorting").glob(f"{FAILED}/*/{WORK}")

    for number in range(RECORDS_KEPT):
        record_failure(
            steps.store,
            "rec",
            "sorting",
            version=f"9{number}",
            run_id="later",
            attempt=1,
            error=OUT_OF_MEMORY,
            scaled={},
            logs=[],
            retried=False,
        )

    assert not kept.parent.exists()


def test_gc_removes_work_whose_record_is_gone(steps: Steps) -> None:
    steps.fail(configured(keep_failed_work=True), OUT_OF_MEMORY)
    (kept,) = steps.store.asset_folder("rec", "sorting").glob(f"{FAILED}/*/{WORK}")
    before = collect_garbage(steps.store, {})
    (kept.parent / FAILURE_NAME).unlink()  # as a removal that was interrupted leaves it

    after = collect_garbage(steps.store, {})

    assert before.removed == []
    assert [removal.path for removal in after.removed] == [kept.parent.relative_to(steps.store.root).as_posix()]
    assert not kept.exists()


@pytest.mark.parametrize("keep", [False, True])
def test_a_record_that_can_not_be_written_does_not_hide_the_failure(steps: Steps, keep: bool) -> None:
    def stand_in_the_way(attempt: Attempt) -> None:
        (steps.store.asset_folder("rec", "sorting") / FAILED).write_text("no folder")
        raise BadChannelsError("No good channel is left.", remedy="Look at the probe.")

    failure = steps.fail(configured(keep_failed_work=keep), stand_in_the_way)

    assert isinstance(failure, dg.Failure)
    shown = metadata(failure)
    assert shown["failure_class"] == "BadChannelsError"
    assert "attempts" not in shown
    assert any("The record of this failure could not be written" in line for line in steps.said)


def test_work_that_can_not_be_kept_does_not_hide_the_failure(steps: Steps) -> None:
    def stand_in_the_way(attempt: Attempt) -> None:
        work = failure_folder(steps.store, "rec", "sorting", attempt.staging.version) / WORK
        work.parent.mkdir(parents=True)
        work.touch()
        raise OUT_OF_MEMORY

    asked = steps.fail(configured(keep_failed_work=True), stand_in_the_way)

    assert isinstance(asked, dg.RetryRequested)
    (record,) = steps.records
    assert record.error.to_dict() == OUT_OF_MEMORY.to_dict()
    assert any("could not be kept" in line for line in steps.said)


def _sort_and_run_out(attempt: Attempt) -> None:
    """Write what a sorter would, and fail."""
    folder = attempt.staging.path / "sorter"
    folder.mkdir()
    (folder / "sorter.log").write_text("Detecting spikes")
    (folder / "temp_wh.dat").write_text("whitened")
    raise OUT_OF_MEMORY


def _kept(steps: Steps) -> dict[str, str | None]:
    """What is in the folder of the only record, with the content of all but the record itself."""
    (folder,) = (steps.store.asset_folder("rec", "sorting") / FAILED).iterdir()
    return {
        path.relative_to(folder).as_posix(): None if path.name == FAILURE_NAME else path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }
