"""A step that an engine started elsewhere: it ends when nobody waits for it, and publishes nothing then."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy.exc
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import StepFailureData, StepRetryData
from dagster._core.execution.context_creation_job import create_context_free_log_manager
from dagster._core.test_utils import create_run_for_test
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.interrupts import capture_interrupts

from sort_assets.platform.execution import remote_steps
from sort_assets.platform.execution.remote_steps import (
    GIVEN_UP,
    STEP_KEY_VARIABLE,
    StepAttempt,
    end_with_run,
    refuse_late_publication,
)

NODE_DOWN = SerializableErrorInfo("its node is down", [], None)
CLEANED_UP = 3
"""Exit code of a step of these tests that was interrupted and has cleaned up."""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as made:
        yield made


@pytest.fixture
def attempt(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> StepAttempt:
    """The first attempt of a step that an engine started, in a run that is being executed."""
    monkeypatch.setenv(STEP_KEY_VARIABLE, "sorting")
    monkeypatch.setattr(remote_steps, "_POLL_S", 0.1)
    monkeypatch.setattr(remote_steps, "_GRACE_S", 0.5)
    monkeypatch.setattr(remote_steps, "_DATABASE_POLL_S", 0.1)
    run = create_run_for_test(instance, job_name="sort", status=dg.DagsterRunStatus.STARTED)
    return StepAttempt(instance, run.run_id, "sorting", 0)


def _fail_run(attempt: StepAttempt) -> None:
    run = attempt.instance.get_run_by_id(attempt.run_id)
    assert run is not None
    attempt.instance.report_run_failed(run, "Its worker has died.")


def _retry_step(attempt: StepAttempt) -> None:
    """Report as the executor does that an attempt is dead for it."""
    _end_step(attempt, dg.DagsterEventType.STEP_UP_FOR_RETRY, StepRetryData(NODE_DOWN))


def _fail_step(attempt: StepAttempt) -> None:
    _end_step(attempt, dg.DagsterEventType.STEP_FAILURE, StepFailureData(NODE_DOWN, None))


def _end_step(attempt: StepAttempt, event_type: dg.DagsterEventType, data: StepRetryData | StepFailureData) -> None:
    run = attempt.instance.get_run_by_id(attempt.run_id)
    assert run is not None
    event = dg.DagsterEvent(event_type.value, "sort", step_key=attempt.step_key, event_specific_data=data)
    create_context_free_log_manager(attempt.instance, run).log_dagster_event(20, event_type.value, event)


def _start(work: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_as_step, args=(work,))
    process.start()
    return process


def _as_step(work: Callable[[], None]) -> None:
    try:
        with capture_interrupts(), raise_execution_interrupts():
            work()
    except dg.DagsterExecutionInterruptedError:
        sys.exit(CLEANED_UP)


def test_a_step_is_interrupted_when_its_run_has_failed(attempt: StepAttempt) -> None:
    def work() -> None:
        with end_with_run(attempt):
            time.sleep(60)

    step = _start(work)
    _fail_run(attempt)
    step.join(20)

    assert step.exitcode == CLEANED_UP


def test_a_step_that_does_not_heed_the_interrupt_is_killed(attempt: StepAttempt) -> None:
    def work() -> None:
        with end_with_run(attempt):
            while True:
                try:
                    time.sleep(60)
                except dg.DagsterExecutionInterruptedError:
                    continue

    step = _start(work)
    _fail_run(attempt)
    step.join(20)

    assert step.exitcode == GIVEN_UP


def test_an_attempt_ends_without_a_word_when_the_next_one_is_due(attempt: StepAttempt, tmp_path: Path) -> None:
    def work() -> None:
        with end_with_run(attempt):
            try:
                time.sleep(60)
            finally:
                (tmp_path / "cleaned").touch()

    step = _start(work)
    _retry_step(attempt)
    step.join(20)

    assert step.exitcode == GIVEN_UP  # no event can follow that would be taken for one of the next attempt
    assert (tmp_path / "cleaned").exists()


def test_the_next_attempt_goes_on(attempt: StepAttempt) -> None:
    _retry_step(attempt)
    second = StepAttempt(attempt.instance, attempt.run_id, attempt.step_key, 1)
    other_step = StepAttempt(attempt.instance, attempt.run_id, "waveforms", 0)

    assert attempt.is_given_up()
    assert not second.is_given_up()
    assert not other_step.is_given_up()
    refuse_late_publication(second)


def test_an_attempt_of_which_the_executor_says_that_it_failed_is_given_up(attempt: StepAttempt) -> None:
    _fail_step(attempt)

    assert attempt.is_given_up()


def test_a_failure_that_was_retried_is_no_failure_of_the_next_attempt(attempt: StepAttempt) -> None:
    _fail_step(attempt)
    _retry_step(attempt)

    assert not StepAttempt(attempt.instance, attempt.run_id, attempt.step_key, 1).is_given_up()


def test_a_step_outlives_a_database_that_is_away(attempt: StepAttempt, monkeypatch: pytest.MonkeyPatch) -> None:
    back_at = time.monotonic() + 1.0

    def ask(_: StepAttempt) -> None:
        if time.monotonic() < back_at:
            raise sqlalchemy.exc.OperationalError("SELECT", {}, Exception("server closed the connection"))

    monkeypatch.setattr(StepAttempt, "why_run_is_over", ask)

    def work() -> None:
        with end_with_run(attempt):
            time.sleep(0.5)
            refuse_late_publication(attempt)
            assert time.monotonic() >= back_at

    step = _start(work)
    step.join(20)

    assert step.exitcode == 0


def test_nothing_is_published_after_the_run_has_failed(attempt: StepAttempt) -> None:
    _fail_run(attempt)

    with pytest.raises(dg.DagsterExecutionInterruptedError, match="is over: FAILURE"):
        refuse_late_publication(attempt)


def test_nothing_is_published_for_a_run_that_was_deleted(attempt: StepAttempt) -> None:
    attempt.instance.delete_run(attempt.run_id)

    with pytest.raises(dg.DagsterExecutionInterruptedError, match="was deleted"):
        refuse_late_publication(attempt)


def test_an_attempt_that_was_given_up_ends_at_its_publication(
    attempt: StepAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_steps, "_POLL_S", 60.0)  # the watch has not yet noticed
    _retry_step(attempt)

    def work() -> None:
        with end_with_run(attempt):
            refuse_late_publication(attempt)
            os._exit(0)

    step = _start(work)
    step.join(20)

    assert step.exitcode == GIVEN_UP


def test_a_process_of_a_run_worker_is_not_watched(attempt: StepAttempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STEP_KEY_VARIABLE)
    _fail_run(attempt)

    with end_with_run(attempt):
        time.sleep(0.3)
