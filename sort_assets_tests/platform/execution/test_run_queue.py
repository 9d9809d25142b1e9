"""The queue of runs, on a real instance, with the daemon's own choice of what leaves it next.

The daemon's queue and the claims of a pool have no public names; the tests name them where Dagster itself does.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.jobs import ACCURACY_PRIORITY, PRIORITY_TAG, SENSOR_PRIORITY, STALE_PRIORITY
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.execution import queued_jobs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("run_queue")]

PERSON = {"dagster/partition": "day.nwb"}
SENSOR = {**PERSON, PRIORITY_TAG: str(SENSOR_PRIORITY)}
STALE = {**PERSON, PRIORITY_TAG: str(STALE_PRIORITY)}
ACCURACY = {**PERSON, PRIORITY_TAG: str(ACCURACY_PRIORITY)}
MAX_RECORDINGS = 4
MAX_RUNS = 6
"""As dagster.yaml says."""
_WORKED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS)


@dataclass(frozen=True)
class Queue:
    """An instance whose runs come from a real code server."""

    instance: dg.DagsterInstance
    workspace: WorkspaceProcessContext
    launched: list[dg.DagsterRun] = field(default_factory=list)

    def submit(self, tags: Mapping[str, str]) -> dg.DagsterRun:
        """Submit a run as the webserver and the daemon do."""
        context = self.workspace.create_request_context()
        (location,) = context.code_locations
        (remote_job,) = location.get_repository("__repository__").get_all_jobs()
        run = self.instance.create_run_for_job(
            queued_jobs.idle,
            tags={**remote_job.tags, **tags},
            remote_job_origin=remote_job.get_remote_origin(),
            job_code_origin=remote_job.get_python_origin(),
        )
        return self.instance.submit_run(run.run_id, context)

    def sort(self, number: int) -> list[dg.DagsterRun]:
        """So many recordings are being sorted."""
        run = {"job_name": "sort_recording", "status": dg.DagsterRunStatus.STARTED, "tags": PERSON}
        return [self.instance.add_run(dg.DagsterRun(**run)) for _ in range(number)]

    def dequeue(self) -> None:
        """One iteration of the daemon."""
        for _ in QueuedRunCoordinatorDaemon(interval_seconds=5).run_iteration(self.workspace):
            pass

    def delete(self, runs: Iterable[dg.DagsterRun]) -> None:
        """Empty the queue of these."""
        for run in runs:
            self.instance.delete_run(run.run_id)

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


def test_our_settings_have_dagsters_queue_with_room_for_runs_without_a_recording(home: Home) -> None:
    with home.instance() as instance:
        limits = instance.get_concurrency_config().run_queue_config

        assert type(instance.run_coordinator) is dg.QueuedRunCoordinator
        assert limits is not None
        assert limits.max_concurrent_runs == MAX_RUNS
        assert limits.tag_concurrency_limits == [{"key": "dagster/partition", "limit": MAX_RECORDINGS}]


def test_a_persons_run_leaves_the_queue_before_those_of_sensors_that_came_first(queue: Queue) -> None:
    busy = queue.sort(MAX_RECORDINGS - 1)
    stale, sensor, person = queue.submit(STALE), queue.submit(SENSOR), queue.submit(PERSON)

    queue.dequeue()

    assert queue.has_left(person)
    assert queue.status(sensor) == queue.status(stale) == dg.DagsterRunStatus.QUEUED
    queue.delete([*busy, stale, sensor])


def test_a_run_without_a_recording_does_not_wait_for_sorts(queue: Queue) -> None:
    busy = queue.sort(MAX_RECORDINGS)
    waiting, digest = queue.submit(PERSON), queue.submit({"dagster/schedule_name": "morning_digest"})

    queue.dequeue()

    assert queue.has_left(digest)
    assert queue.status(waiting) == dg.DagsterRunStatus.QUEUED
    queue.delete([*busy, waiting])


def test_the_slot_of_a_pool_goes_to_the_persons_step_first_and_to_a_measurement_of_accuracy_last(queue: Queue) -> None:
    runs = [queue.submit(tags) for tags in (PERSON, ACCURACY, STALE, SENSOR, PERSON)]
    holder, *waiting = (InstanceConcurrencyContext(queue.instance, run) for run in runs)
    with contextlib.ExitStack() as opened:
        for context in (holder, *waiting):
            opened.enter_context(context)
        assert holder.claim(GPU_POOL, "sorting")
        for context in waiting:
            assert not context.claim(GPU_POOL, "sorting")
        order = []

        holder.free_step("sorting")
        for _ in waiting:
            pending = queue.instance.event_log_storage.get_concurrency_info(GPU_POOL).pending_steps
            (assigned,) = [step.run_id for step in pending if step.assigned_timestamp]
            order.append(assigned)
            queue.instance.event_log_storage.free_concurrency_slot_for_step(assigned, "sorting")
            queue.instance.event_log_storage.free_concurrency_slots_for_run(assigned)

    assert order == [run.run_id for run in reversed(runs[1:])]
    queue.delete(runs)
