"""Old runs shrink: what their steps printed and the lines of their log go, and what anything is read from stays.

Staleness, status, digest, rig history and the sensors read runs with their tags, materializations, observations, the
verdicts of checks, and how runs and steps ended. These stay for ever; they are a small part of a run's events.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterEventType as Event
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable  # no public call removes a part of a log
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import delete, or_

_REMOVED = (
    *(Event.ENGINE_EVENT, Event.LOGS_CAPTURED, Event.STEP_WORKER_STARTING, Event.STEP_WORKER_STARTED),
    *(Event.RESOURCE_INIT_STARTED, Event.RESOURCE_INIT_SUCCESS, Event.RESOURCE_INIT_FAILURE),
    *(Event.STEP_INPUT, Event.STEP_OUTPUT, Event.LOADED_INPUT, Event.HANDLED_OUTPUT, Event.OBJECT_STORE_OPERATION),
)
_TAG = "sort_assets/log_removed"
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PAGE = 200
_DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class RemovedLogs:
    """What was removed, or would be.

    Attributes
    ----------
    runs : int
    lines : int
        Lines and events of their logs; 0 in a dry run.
    """

    runs: int
    lines: int


def remove_logs(instance: dg.DagsterInstance, older_than_days: float, *, dry_run: bool = False) -> RemovedLogs:
    """Remove the logs of runs that ended some days ago.

    Parameters
    ----------
    instance : dg.DagsterInstance
    older_than_days : float
    dry_run : bool
        Only count the runs.
    """
    runs, lines = 0, 0
    for run in _ended_before(instance, time.time() - older_than_days * _DAY_S):
        runs += 1
        if dry_run:
            continue
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        lines += _remove_lines(instance, run.run_id)
        instance.add_run_tags(run.run_id, {_TAG: "true"})  # so that the next time does not look at it again
    return RemovedLogs(runs, lines)


def _ended_before(instance: dg.DagsterInstance, when: float) -> Iterator[dg.DagsterRun]:
    wanted = dg.RunsFilter(statuses=_OVER, updated_before=datetime.fromtimestamp(when, UTC))
    cursor = None
    while records := instance.get_run_records(wanted, limit=_PAGE, cursor=cursor):
        yield from (one.dagster_run for one in records if _TAG not in one.dagster_run.tags)
        cursor = records[-1].dagster_run.run_id


def _remove_lines(instance: dg.DagsterInstance, run_id: str) -> int:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    table = SqlEventLogStorageTable.c
    kind = table.dagster_event_type
    removed = or_(kind.is_(None), kind.in_([one.value for one in _REMOVED]))
    with storage.run_connection(run_id) as connection:
        engine = connection.engine
        result = connection.execute(delete(SqlEventLogStorageTable).where(table.run_id == run_id, removed))
    if result.rowcount and engine.dialect.name == "sqlite":  # a file of its own for each run, which would keep its size
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM")
    return int(result.rowcount)
