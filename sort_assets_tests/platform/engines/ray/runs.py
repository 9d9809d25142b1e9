"""Runs whose steps are jobs of a Ray."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.api import execute_run
from dagster._core.utils import make_new_run_id
from ray.job_submission import JobDetails, JobSubmissionClient

from sort_assets_tests.faults.runs import TABLE
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.fixtures.ray_cluster import RayCluster
from sort_assets_tests.platform.engines.ray.waiting_job import make_waiting_job


def on_ray(home: Home, cluster: RayCluster) -> Home:
    """The same home, whose runs have their steps on the Ray."""
    variables = {"SORT_ASSETS_ENGINE": "ray", "SORT_ASSETS_RAY_ADDRESS": cluster.address}
    return replace(home, variables={**home.variables, **variables})


def slow_sort(fault: str, *, gpus: int = 1, **params: Any) -> Mapping[str, Any]:
    """The config of a sort that takes as long as the test wants, on a GPU that it does not use."""
    return cheap(
        sorter={"name": "misbehaving", "params": {"fault": fault, **params}}, resources={"sorting": {"gpus": gpus}}
    )


def jobs_of(cluster: RayCluster, run_id: str) -> list[JobDetails]:
    """The jobs of a run, oldest first."""
    jobs = JobSubmissionClient(cluster.address).list_jobs()
    return sorted((one for one in jobs if (one.metadata or {}).get("dagster/run-id") == run_id), key=_start)


def _start(job: JobDetails) -> int:
    return job.start_time or 0


def wait_for(found: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """What `found` returns, as soon as that is something."""
    deadline = time.monotonic() + timeout_s
    while not (thing := found()):
        assert time.monotonic() < deadline, f"{what} was never seen"
        time.sleep(0.1)
    return thing


@contextmanager
def waiting_run(home: Home, until: Path, run_id: str | None = None) -> Iterator[tuple[dg.DagsterInstance, str]]:
    """Execute a run of the job that only waits, its worker in a thread; at the end it may end, and has."""
    with home.instance() as instance:
        recon = dg.reconstructable(make_waiting_job)
        run = instance.create_run_for_job(
            make_waiting_job(),
            run_id=run_id or make_new_run_id(),
            run_config={"ops": {"waiting": {"config": {"until": str(until)}}}},
            job_code_origin=recon.get_python_origin(),
        )
        worker = threading.Thread(target=execute_run, args=(recon, run, instance), daemon=True)
        worker.start()
        try:
            yield instance, run.run_id
        finally:
            until.touch()
            worker.join(timeout=120)
        assert not worker.is_alive()


def failures_in(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What the failures of the run's steps say, in the words that the UI shows first."""
    records = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    found = []
    for record in records:
        assert record.dagster_event is not None
        data = record.dagster_event.step_failure_data
        found.append((data.user_failure_data and data.user_failure_data.description) or str(data.error))
    return found


def note_on_ray(fault: str, outcome: str, seconds: float | None, left: str) -> None:
    """Add a line to the table of faults: what it came to, after how many seconds, and what was left."""
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("a", encoding="utf-8") as table:
        table.write(f"Ray: {fault}\t{outcome}\t{'' if seconds is None else f'{seconds:.1f}'}\t{left}\n")


def events_of(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[str]:
    """What the events of a kind say."""
    return [entry.user_message for entry in instance.all_logs(run_id, of_type=kind)]
