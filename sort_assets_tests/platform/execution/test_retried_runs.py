"""Which runs are the automatic retry of which."""

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RETRY_NUMBER_TAG

from sort_assets.platform.execution.retried_runs import runs_before


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
