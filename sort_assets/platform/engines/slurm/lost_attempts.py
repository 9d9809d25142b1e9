"""The record of a step that died with its run's job when memory ran out, by which the next attempt asks for more.

Unlike that of `store.dead_staging`, it is made also where the step has left nothing: the run as a whole had the memory.
"""

from datetime import UTC, datetime

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import HostOutOfMemoryError
from sort_assets.platform.pipeline.run_requests import RunRequests
from sort_assets.platform.store.dead_staging import logs_of_a_sort
from sort_assets.platform.store.failures import record_failure
from sort_assets.platform.store.layout import STAGING
from sort_assets.platform.store.store import Store

_BEGUN = ("IN_PROGRESS", "FAILURE")


def record_job_out_of_memory(
    instance: dg.DagsterInstance, run: dg.DagsterRun, error: HostOutOfMemoryError, *, node: str
) -> None:
    """Record that a job ran out of memory, for the step that was at work, or else for the first one of the run.

    Parameters
    ----------
    instance, run
    error : HostOutOfMemoryError
        With the memory that the job had, where it is known.
    node : str
        Where it ran.
    """
    requests = RunRequests(instance, run)
    if requests.recording is None or not requests.assets:
        return
    store = Store(Roots.from_environment().store)
    steps = {one.step_key: one.status and one.status.value for one in instance.get_run_step_stats(run.run_id)}
    at_work = [asset for asset in requests.assets if steps.get(asset) in _BEGUN]
    for asset in at_work or requests.assets[:1]:
        folder = store.asset_folder(requests.recording, asset)
        now, ending = datetime.now(UTC), f"-{run.run_id[:8]}"
        left = sorted(path for path in folder.glob(f"{STAGING}*{ending}") if path.is_dir())
        version = left[-1].name.removeprefix(STAGING) if left else f"{now:%Y%m%dT%H%M%S}000{ending}"
        record_failure(
            store,
            requests.recording,
            asset,
            version=version,
            run_id=run.run_id,
            attempt=1,
            error=error,
            scaled={},
            logs=logs_of_a_sort(left[-1]) if left else (),
            retried=True,
            host=node,
        )
