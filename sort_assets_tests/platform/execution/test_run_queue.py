"""The queue of runs, on a real instance, with the daemon's own choice of what leaves it next.

The daemon's queue and the claims of a pool have no public names; the tests name them where Dagster itself does.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.execution.run_queue import (
    AUTOMATION_PRIORITY,
    BACKFILL_PRIORITY,
    PRIORITY_TAG,
    PeopleFirstRunCoordinator,
    priority_to_set,
)
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.execution import queued_jobs

BACKFILL = {"dagster/backfill": "abc", "dagster/partition": "day.nwb"}
SENSOR = {"dagster/sensor_name": "new_recordings"}
RUNS_AT_ONCE = 4
"""As dagster.yaml says."""
_WORKED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS)


@dataclass(frozen=True)
class Queue:
    """An instance whose runs come from a real code server."""

    instance: dg.DagsterInstance
    workspace: WorkspaceProcessContext
    launched: list[dg.DagsterRun] = field(default_factory=list)

    def submit(self, tags: Mapping[str, str], job: str = "patient") -> dg.DagsterRun:
        """Submit a run as the webserver and the daemon do."""
        context = self.workspace.create_request_context()
        (location,) = context.code_locations
        remote_job = next(one for one in location.get_repository("__repository__").get_all_jobs() if one.name == job)
        run = self.instance.create_run_for_job(
            getattr(queued_jobs, job),
            tags={**remote_job.tags, **tags},
            remote_job_origin=remote_job.get_remote_origin(),
            job_code_origin=remote_job.get_python_origin(),
        )
        return self.instance.submit_run(run.run_id, context)

    def status(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    def has_left(self, run: dg.DagsterRun) -> bool:
        """Whether a run was launched; how it ends, the fixture looks at when all tests have run."""
        self.launched.append(run)
        return self.status(run) in (dg.DagsterRunStatus.STARTING, *_WORKED)


@pytest.fixture(scope="module")
def queue(module_home: Home) -> Iterator[Queue]:
    """With our dagster.yaml. Tests leave it empty."""
    target = ModuleTarget(queued_jobs.__name__, attribute=None, working_directory=None, location_name="queued_jobs")
    with module_home.instance() as instance, create_test_daemon_workspace_context(target, instance) as workspace:
        queue = Queue(instance, workspace)
        yield queue
        deadline = time.monotonic() + 60
        while not all(queue.status(run) == dg.DagsterRunStatus.SUCCESS for run in queue.launched):
            assert time.monotonic() < deadline, [queue.status(run) for run in queue.launched]
            time.sleep(0.05)


def test_our_settings_have_this_queue_and_keep_the_limit_of_runs(home: Home) -> None:
    with home.instance() as instance:
        limit = instance.get_concurrency_config().run_queue_config

        assert isinstance(instance.run_coordinator, PeopleFirstRunCoordinator)
        assert limit is not None
        assert limit.max_concurrent_runs == RUNS_AT_ONCE


def test_a_persons_run_leaves_the_queue_before_a_backfill_and_a_sensor_that_came_first(queue: Queue) -> None:
    busy = [
        queue.instance.add_run(dg.DagsterRun(job_name="sort_recording", status=dg.DagsterRunStatus.STARTED))
        for _ in range(RUNS_AT_ONCE - 1)
    ]
    backfill, sensor, person = queue.submit(BACKFILL), queue.submit(SENSOR), queue.submit({})

    for _ in QueuedRunCoordinatorDaemon(interval_seconds=5).run_iteration(queue.workspace):
        pass

    assert queue.has_left(person)
    assert queue.status(sensor) == queue.status(backfill) == dg.DagsterRunStatus.QUEUED
    for run in (*busy, backfill, sensor):
        queue.instance.delete_run(run.run_id)


def test_the_slot_of_a_pool_goes_to_the_persons_step_first(queue: Queue) -> None:
    runs = [queue.submit(tags) for tags in ({}, BACKFILL, SENSOR, {})]
    holder, backfill, sensor, person = (InstanceConcurrencyContext(queue.instance, run) for run in runs)
    with holder, backfill, sensor, person:
        assert holder.claim(GPU_POOL, "sorting")
        waiting = [backfill, sensor, person]
        for one in waiting:
            assert not one.claim(GPU_POOL, "sorting")
        order = []

        holder.free_step("sorting")
        for _ in range(3):
            pending = queue.instance.event_log_storage.get_concurrency_info(GPU_POOL).pending_steps
            (assigned,) = [step.run_id for step in pending if step.assigned_timestamp]
            order.append(assigned)
            queue.instance.event_log_storage.free_concurrency_slot_for_step(assigned, "sorting")
            queue.instance.event_log_storage.free_concurrency_slots_for_run(assigned)

    assert order == [runs[3].run_id, runs[2].run_id, runs[1].run_id]
    for run in runs:
        queue.instance.delete_run(run.run_id)


def test_a_run_of_seconds_does_not_wait_for_sorts(queue: Queue) -> None:
    busy = [
        queue.instance.add_run(dg.DagsterRun(job_name="sort_recording", status=dg.DagsterRunStatus.STARTED))
        for _ in range(RUNS_AT_ONCE)
    ]

    run = queue.submit({"dagster/schedule_name": "morning_digest"}, "at_once")

    assert queue.has_left(run)
    for one in busy:
        queue.instance.delete_run(one.run_id)


@pytest.mark.parametrize("chosen", ["7", "-20"])
def test_a_priority_that_somebody_chose_is_left_alone(queue: Queue, chosen: str) -> None:
    run = queue.submit({**BACKFILL, PRIORITY_TAG: chosen})

    assert run.tags[PRIORITY_TAG] == chosen
    queue.instance.delete_run(run.run_id)


@pytest.mark.parametrize(
    ("tags", "priority"),
    [
        ({}, None),
        ({"dagster/partition": "day.nwb"}, None),
        (BACKFILL, BACKFILL_PRIORITY),
        ({**BACKFILL, **SENSOR}, BACKFILL_PRIORITY),
        (SENSOR, AUTOMATION_PRIORITY),
        ({"dagster/schedule_name": "nightly"}, AUTOMATION_PRIORITY),
        ({"dagster/from_automation_condition": "true"}, AUTOMATION_PRIORITY),
    ],
)
def test_the_priority_follows_from_who_asked(tags: Mapping[str, str], priority: int | None) -> None:
    assert priority_to_set(tags, {}) == priority


GIVEN = {**SENSOR, PRIORITY_TAG: str(AUTOMATION_PRIORITY)}
CHOSEN = {**SENSOR, PRIORITY_TAG: "3"}


@pytest.mark.parametrize(
    ("tags", "parent", "priority"),
    [
        # A person executes the sensor's run again: the sensor's tags are inherited.
        (GIVEN, GIVEN, 0),
        (SENSOR, SENSOR, None),
        (CHOSEN, CHOSEN, None),
        ({**GIVEN, PRIORITY_TAG: "5"}, GIVEN, None),
        # A backfill executes what failed again.
        (BACKFILL, SENSOR, BACKFILL_PRIORITY),
        # Dagster retries by itself.
        ({**GIVEN, "dagster/retry_number": "1"}, GIVEN, None),
    ],
)
def test_a_run_that_is_executed_again_is_judged_by_what_it_did_not_inherit(
    tags: Mapping[str, str], parent: Mapping[str, str], priority: int | None
) -> None:
    assert priority_to_set(tags, parent) == priority


def test_a_person_who_executes_a_sensors_run_again_goes_first(queue: Queue) -> None:
    parent = queue.submit(SENSOR)

    again = queue.submit({**parent.tags, "dagster/parent_run_id": parent.run_id})

    assert parent.tags[PRIORITY_TAG] == str(AUTOMATION_PRIORITY)
    assert again.tags[PRIORITY_TAG] == "0"
    for run in (parent, again):
        queue.instance.delete_run(run.run_id)
