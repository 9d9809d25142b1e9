"""The sensor `stale_recordings`: what code, rules or changed files made stale is made again, if somebody wants that.

Dagster's automation conditions were measured beside it, with 10,000 sorted recordings on SQLite: a tick takes 3.5 s of
one core with `any_deps_updated() | code_version_changed()`, 8 s with the conditions that keep it from asking twice, and
asks for nothing, as they take no notice of an asset that is only observed (1.13.27). A tick of this sensor takes 0.7 to
1.3 s, whether nothing or ten recordings have changed. Before that, the first ticks of a process read 40,000 events, in
25 s, of which none takes more than ten.
"""

from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.pipeline.jobs import sort_recording

if TYPE_CHECKING:
    from sort_assets.platform.automation.refreshing import Refresher

NAME = "stale_recordings"
_INTERVAL_S = 60


@cache
def _refresher(_home: str) -> "Refresher":
    """The one of this process, for an instance: what it remembers has the numbers of that instance's events."""
    from sort_assets.platform.automation.refreshing import Refresher

    return Refresher(NAME)


@dg.sensor(
    name=NAME,
    job=sort_recording,
    minimum_interval_seconds=_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Makes stale results again: after an edited rule or sidecar, a changed recording, or a new version of an "
        "asset's code, and only the part of the pipeline that is concerned. Off, as all of it is expensive: see what "
        "is stale in the catalog, then switch it on, or materialize what you choose. It starts nothing for recordings "
        "without a sorting, and nothing again that failed after it became stale."
    ),
)
def stale_recordings(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    from sort_assets.platform.automation.refreshing import summary

    try:
        refresh = _refresher(context.instance.root_directory).look(context.instance, Roots.from_environment())
    except SortAssetsError as error:
        # An error would be shown with a stack trace that helps nobody, and the daemon would try again at once.
        context.log.warning(str(error))
        return dg.SensorResult(skip_reason=str(error))
    said = "; ".join(summary(refresh))
    context.log.info(said)
    return dg.SensorResult(run_requests=refresh.requests, skip_reason=None if refresh.requests else said)
