"""Which runs are the automatic retry of which."""

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RETRY_NUMBER_TAG

from sort_assets.platform.execution.dead_runs import report_death_of_worker
from sort_assets.platform.execution.retried_runs import is_launched_again, leave_to_others, runs_before
from sort_assets_tests.fixtures.home import Home


def _run_after(instance: dg.DagsterInstance, parent: dg.DagsterRun, *, by_itself: bool) -> dg.DagsterRun:
    """The re-execution of a run, with the tags that Dagster's daemon or its UI gives both."""
    tags = {"dagster/parent_run_id": parent.run_id, "dagster/root_run_id": parent.root_run_id or parent.run_id}
    number = {RETRY_NUMBER_TAG: "1"} if by_itself else {}
    run = instance.add_run(
        dg.DagsterRun(
            "sort_recording",
            parent_run_id=parent.run_id,
            root_run_id=tags["dagster/root_run_id"],
            tags={**tags, **number},
        )
    )
    if by_itself:
        instance.add_run_tags(parent.run_id, {AUTO_RETRY_RUN_ID_TAG: run.run_id})
    return run


def test_a_run_that_dagster_tried_again_follows_all_those_before_it() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = instance.add_run(dg.DagsterRun("sort_recording"))
        second = _run_after(instance, first, by_itself=True)
        third = _run_after(instance, second, by_itself=True)

        assert runs_before(instance, third) == [first.run_id, second.run_id]
        assert runs_before(instance, first) == []


def test_a_run_that_a_person_executes_again_begins_anew_and_so_do_its_retries() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = instance.add_run(dg.DagsterRun("sort_recording"))
        retry = _run_after(instance, first, by_itself=True)
        by_person = _run_after(instance, retry, by_itself=False)
        its_retry = _run_after(instance, by_person, by_itself=True)

        assert runs_before(instance, by_person) == []
        assert runs_before(instance, its_retry) == [by_person.run_id]


def test_a_run_whose_parent_was_deleted_begins_anew() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = instance.add_run(dg.DagsterRun("sort_recording"))
        retry = _run_after(instance, first, by_itself=True)
        instance.delete_run(first.run_id)

        assert runs_before(instance, retry) == []


def test_a_run_whose_worker_died_is_launched_again_twice(home: Home) -> None:
    with home.instance() as instance:
        group = [_lost(instance)]
        once = is_launched_again(group[0])
        for _ in range(2):
            retry = _run_after(instance, group[-1], by_itself=True)
            report_death_of_worker(instance, retry, -9)
            group.append(_fresh(instance, retry))
        has_its_retry = _fresh(instance, group[0])

    assert once
    assert not is_launched_again(has_its_retry)
    assert [one.tags["dagster/will_retry"] for one in group] == ["true", "true", "false"]


def test_a_run_of_the_command_line_whose_worker_died_is_left_to_whoever_started_it(home: Home) -> None:
    with home.instance() as instance:
        lost = _lost(instance, by_daemon=False)
        (event,) = instance.all_logs(lost.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)

    assert not is_launched_again(lost)
    assert event.message.endswith("Remedy: Launch the run again.")


def test_a_run_that_somebody_else_launches_again_is_not_launched_by_the_daemon_too(home: Home) -> None:
    with home.instance() as instance:
        lost = _lost(instance)
        before = is_launched_again(lost)

        leave_to_others(instance, lost)

        assert (before, is_launched_again(_fresh(instance, lost))) == (True, False)


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (None, "has died: it was killed, the memory was used up, or the machine was restarted."),
        (-9, "was killed (signal 9), as the kernel does when the memory is used up."),
        (-15, "was ended by signal 15."),
        (3, "ended with status 3 without a word."),
    ],
)
def test_it_is_said_how_a_worker_ended(exit_code: int | None, words: str, home: Home) -> None:
    with home.instance() as instance:
        lost = _lost(instance, exit_code=exit_code)
        (event,) = instance.all_logs(lost.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)

    assert event.message.startswith("RunWorkerLostError: The worker of this run, a process on ")
    assert words in event.message


def test_a_run_whose_worker_died_while_somebody_canceled_it_is_canceled(home: Home) -> None:
    with home.instance() as instance:
        run = instance.add_run(dg.DagsterRun("sort_recording", status=dg.DagsterRunStatus.CANCELING))

        report_death_of_worker(instance, run, -9)

        assert _fresh(instance, run).status == dg.DagsterRunStatus.CANCELED


def _lost(instance: dg.DagsterInstance, *, by_daemon: bool = True, exit_code: int | None = -9) -> dg.DagsterRun:
    """A run whose worker has died."""
    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("sort_assets"), "__repository__"), "sort_recording"
    )
    run = instance.add_run(
        dg.DagsterRun(
            "sort_recording",
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": "day.nwb"},
            remote_job_origin=origin if by_daemon else None,
        )
    )
    report_death_of_worker(instance, run, exit_code)
    return _fresh(instance, run)


def _fresh(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    fresh = instance.get_run_by_id(run.run_id)
    assert fresh is not None
    return fresh
