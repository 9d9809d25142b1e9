"""The schedule `accuracy_of_rigs`: measures the accuracy of each rig's sorts again, as often as its settings say.

It is on, and requests nothing where no setting has `hybrid.every_days`.
"""

from datetime import UTC

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.automation.digest import time_zone
from sort_assets.platform.pipeline.jobs import ACCURACY_PRIORITY, PRIORITY_TAG, measure_accuracy

NAME = "accuracy_of_rigs"
_CRON = "0 22 * * *"


@dg.schedule(
    name=NAME,
    job=measure_accuracy,
    cron_schedule=_CRON,
    execution_timezone=time_zone(),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Injects known units into the newest recording of each rig, and sorts it, when hybrid.every_days have passed "
        "since the rig was measured; whatever else waits for a device takes precedence. Idle where no setting has "
        "hybrid.every_days."
    ),
)
def accuracy_of_rigs(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Request measurements of the rigs that are due."""
    from sort_assets.platform.automation.rigs_due import rigs_due

    now = context.scheduled_execution_time.astimezone(UTC)
    try:
        due = rigs_due(context.instance, Roots.from_environment(), now)
    except SortAssetsError as error:
        return dg.SkipReason(str(error))
    if not due:
        return dg.SkipReason("No rig is due: see hybrid.every_days.")
    return [
        dg.RunRequest(
            run_key=f"{key}:{now:%Y-%m-%d}",
            partition_key=key,
            tags={PRIORITY_TAG: str(ACCURACY_PRIORITY)},
        )
        for key in due
    ]
