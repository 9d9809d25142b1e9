"""The sensor `stale_recordings`: what code, rules or changed files made stale is made again, if it is switched on.

Dagster's automation conditions were measured as an alternative, with 10,000 sorted recordings on SQLite: a tick takes
3.5 s of one core with `any_deps_updated() | code_version_changed()`, 8 s with the conditions that prevent a second
request, and requests nothing, since they ignore an asset that is only observed (1.13.27). A tick of this sensor takes
0.7 to 1.3 s, whether nothing or ten recordings have changed. The first ticks of an instance read 40,000 events, which
takes 25 s; none of them takes more than ten.
"""

from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.sensor import daemon_problem
from sort_assets.platform.pipeline.jobs import sort_recording

if TYPE_CHECKING:
    from sort_assets.platform.automation.stale_results.requests import RefreshPlanner

NAME = "stale_recordings"
_INTERVAL_S = 60


@cache
def _planner(_home: str) -> "RefreshPlanner":
    """The planner of this process for an instance: what it remembers has the numbers of that instance's events."""
    from sort_assets.platform.automation.stale_results.requests import RefreshPlanner

    return RefreshPlanner(NAME)


@dg.sensor(
    name=NAME,
    job=sort_recording,
    minimum_interval_seconds=_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Makes stale results again: after an edited rule or sidecar, a changed recording, or a new version of an "
        "asset's code, and only the affected part of the pipeline. Off by default, since all of it is expensive: look "
        "in the catalog what is stale, then switch it on, or materialize what you choose. It starts nothing for "
        "recordings without a sorting, and nothing that failed after it became stale."
    ),
)
def stale_recordings(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Request runs of what is stale."""
    try:
        plan = _planner(context.instance.root_directory).plan(context.instance, Roots.from_environment())
    except SortAssetsError as error:
        # If raised, the UI would show a stack trace, and the daemon would try again immediately.
        context.log.warning(str(error))
        return dg.SensorResult(skip_reason=str(error))
    summary = "; ".join(plan.summary())
    context.log.info(summary)
    return dg.SensorResult(run_requests=plan.requests, skip_reason=None if plan.requests else summary)


def launch_problem(instance: dg.DagsterInstance) -> str | None:
    """Why stale results are not made again by themselves, and how they are, in sentences; None when they are."""
    if not any(one.name == NAME and one.status.value == "RUNNING" for one in instance.all_instigator_state()):
        return (
            f"The sensor {NAME} is off, so none of it is made again by itself. Switch it on in the UI, under "
            "Automation, or materialize what you choose of the stale assets in the catalog."
        )
    return daemon_problem(instance)
