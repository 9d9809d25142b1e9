"""The sensor `new_recordings`: what is copied below the recordings root becomes a partition and is sorted."""

import time

import dagster as dg

from sort_assets.config.settings import Roots, read_environment
from sort_assets.errors import SortAssetsError
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.jobs import PRIORITY_TAG, SENSOR_PRIORITY, sort_recording

NAME = "new_recordings"
_MAX_LINES = 20
"""The most warnings, and the most other changes, that one tick logs."""
_NOTHING = "Nothing to start"
_OTHER_SCAN = "Another scan, or a `sort-assets` command, is at work."
_DAEMON = "SENSOR"
_SILENT_S = 120.0
"""Age of the last heartbeat from which on the daemon counts as stopped; it sends one every 30 s."""


@dg.sensor(
    name=NAME,
    job=sort_recording,
    minimum_interval_seconds=read_environment().scan_interval_s,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Looks for recordings below SORT_ASSETS_RECORDINGS. A recording that is complete, because nothing in it changes"
        " any more, becomes a partition and is sorted, as `sort_assets.yaml` and its sidecar say. "
        "`sort-assets scan --dry-run` shows what it would do, `sort-assets status` where each recording stands."
    ),
)
def new_recordings(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    # What a tick needs would slow down every process that imports the code location.
    from sort_assets.platform.arrivals.folder_report import report_folder
    from sort_assets.platform.arrivals.header_reader import shared_header_reader
    from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
    from sort_assets.platform.arrivals.scanner import RecordingScanner
    from sort_assets.platform.arrivals.tick import summarize
    from sort_assets.platform.pipeline.recording_forecast import tag_queued_runs
    from sort_assets.platform.store.locks import Locked
    from sort_assets.platform.store.store import Store

    try:
        roots = Roots.from_environment()
        scanner = RecordingScanner(context.instance, roots, shared_header_reader, sensor=NAME)
        result = scanner.tick(delivered=int(context.cursor or 0))
        catalog = RecordingCatalog(roots.store)
        summary = ", ".join(summarize(result, catalog))
        if result.waiting or result.unread:
            shared_header_reader.prepare()
        else:
            shared_header_reader.close()
        report_folder(context.instance, roots, catalog)
        tag_queued_runs(context.instance, Store(roots.store))
    except Locked:
        return dg.SensorResult(skip_reason=_OTHER_SCAN)
    except (SortAssetsError, OSError) as error:
        # An error would be shown with a stack trace that helps nobody, and the daemon would try again at once.
        context.log.warning(str(error))
        return dg.SensorResult(skip_reason=str(error))
    for lines, log in ((result.warnings, context.log.warning), (result.changes, context.log.info)):
        for line in lines[:_MAX_LINES]:
            log(line)
        if len(lines) > _MAX_LINES:
            log(f"And {len(lines) - _MAX_LINES} more; see `sort-assets status`.")
    requests = [
        dg.RunRequest(
            run_key=partition.run_key,
            partition_key=partition.key,
            asset_selection=[dg.AssetKey(asset) for asset in partition.run_assets or PIPELINE],
            tags={PRIORITY_TAG: str(SENSOR_PRIORITY)},
        )
        for partition in result.requests
    ]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else f"{_NOTHING}: {summary}.",
        cursor=str(result.tick),
    )


def daemon_problem(instance: dg.DagsterInstance) -> str | None:
    """That the daemon, without which no sensor is asked, does not run, as a sentence; None when it does."""
    heartbeat = instance.get_daemon_heartbeats().get(_DAEMON)
    if heartbeat is None or time.time() - heartbeat.timestamp > _SILENT_S:
        return "The Dagster daemon does not run, so no run starts by itself. Start it with `sort-assets up`."
    return None


def launch_problem(instance: dg.DagsterInstance) -> str | None:
    """Why the runs that are wanted will not start by themselves, as a sentence; None when they will.

    Cheap: it reads two rows of Dagster's databases.
    """
    if (problem := daemon_problem(instance)) is not None:
        return problem
    if any(one.name == NAME and one.status.value == "STOPPED" for one in instance.all_instigator_state()):
        return f"The sensor {NAME} is stopped, so no run starts by itself. Start it in the UI, under Automation."
    return None


def scan_problem(instance: dg.DagsterInstance) -> str | None:
    """Why the newest tick could not look for recordings, as it says it itself; None when it could.

    Cheap: it reads the sensors' states and one row of the ticks.
    """
    for one in instance.all_instigator_state():
        if one.name != NAME:
            continue
        for tick in instance.get_ticks(one.instigator_origin_id, one.selector_id, limit=1):
            if tick.error is not None:
                return tick.error.message.strip()
            reason = tick.skip_reason or ""
            return None if not reason or reason.startswith((_NOTHING, _OTHER_SCAN)) else reason
    return None
