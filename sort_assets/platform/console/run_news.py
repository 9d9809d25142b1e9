"""What happens in the runs of recordings, read from the events of the instance.

Each event is read once, with a cursor. Nothing is read of runs that wait in the queue, however many there are.
"""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Final

import dagster as dg
from dagster import DagsterEventType as Event

from sort_assets.platform.automation.failed_runs import RunFailure, failures_of_run, recording_of
from sort_assets.platform.console.news import News, format_seconds
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.recording_results import SORTING, recording_summary
from sort_assets.platform.store.store import Store

_CHANGES: Final = (Event.RUN_ENQUEUED, Event.RUN_START, Event.RUN_SUCCESS, Event.RUN_FAILURE, Event.RUN_CANCELED)
_PAGE = 500
_COMPARED_EVERY_S = 60.0
_CHANGES_AT_LEAST_EVERY_S = 10.0
_QUEUED_S = 15.0
"""How long a run is in the queue before that is said: the daemon looks into it every few seconds."""
_SILENT_S = 10.0
"""How long a step works before what it says is said here."""
_LONGEST_SILENCE_S = 300.0
_LONGEST_MESSAGE = 400
"""Characters, so that the remedy behind it is seen."""
_BLOCKED = "blocked by limit for pool"


@dataclass
class _Followed:
    """A run that has not ended.

    Attributes
    ----------
    cursor : str or None
        Of its events, those that were read.
    since : float
        When it was queued or, then, started; in seconds since 1970.
    started, queue_told : bool
    step : str
        The step that began last.
    step_since, told_at : float
        When the step began, and when something was last said of the run; in seconds since 1970.
    said, told : str
        What the steps said last and was not said here; what was last said here.
    """

    run: dg.DagsterRun
    recording: str
    since: float
    started: bool = False
    queue_told: bool = False
    cursor: str | None = None
    step: str = ""
    step_since: float = 0.0
    told_at: float = 0.0
    said: str = ""
    told: str = ""
    blocked: set[str] = field(default_factory=set)


class RunNews:
    """Follows the runs of an instance.

    Parameters
    ----------
    instance : DagsterInstance
    store : Store
    """

    def __init__(self, instance: dg.DagsterInstance, store: Store) -> None:
        self._instance, self._store = instance, store
        self._after = {change: self._newest(change) for change in _CHANGES}
        self._read_to, self._read_at = -1, -math.inf
        self._followed: dict[str, _Followed] = {}
        self._compared = time.monotonic()
        self._news: list[News] = []
        records = instance.get_run_records(dg.RunsFilter(statuses=[*UNFINISHED]))
        for record in sorted(records, key=lambda one: one.storage_id):
            started = record.start_time is not None
            run = _Followed(
                record.dagster_run, recording_of(record.dagster_run), record.start_time or time.time(), started
            )
            run.cursor = self._last_cursor(run)
            self._followed[record.dagster_run.run_id] = run

    def read(self) -> list[News]:
        """What has happened since the last call, or since this object was made."""
        # Where the database goes away meanwhile, what was read is returned by the next call.
        self._news.extend(self._changes())
        for run in [*self._followed.values()]:
            if run.started:
                self._news.extend(self._of_started(run))
        self._news.extend(self._queued())
        news, self._news = self._news, []
        return news

    def _newest(self, change: Event) -> int:
        records = self._instance.fetch_run_status_changes(change, limit=1).records
        return records[0].storage_id if records else 0

    def _last_cursor(self, run: _Followed) -> str | None:
        """The cursor behind what has happened already; what its last step is doing is said soon enough."""
        if not run.started:
            return None
        return self._instance.get_records_for_run(run.run.run_id, limit=1, ascending=False).cursor

    def _changes(self) -> Iterator[News]:
        """Runs that were queued, started or ended."""
        changed: dict[Event, list[dg.EventLogEntry]] = {}
        after: dict[Event, int] = {}
        newest = self._instance.event_log_storage.get_maximum_record_id() or 0
        # PostgreSQL may show a later event first, so that the newest one does not tell of all.
        is_idle = newest == self._read_to and time.monotonic() - self._read_at < _CHANGES_AT_LEAST_EVERY_S
        for change in () if is_idle else _CHANGES:
            records = self._instance.fetch_run_status_changes(
                dg.RunStatusChangeRecordsFilter(event_type=change, after_storage_id=self._after[change]),
                limit=_PAGE,
                ascending=True,
            ).records
            if records:
                after[change] = records[-1].storage_id
                changed[change] = [record.event_log_entry for record in records]
        new = {entry.run_id for entries in changed.values() for entry in entries if entry.run_id not in self._followed}
        runs = {run.run_id: run for run in self._instance.get_runs(dg.RunsFilter(run_ids=[*new]))} if new else {}
        self._after |= after
        if not is_idle and all(len(entries) < _PAGE for entries in changed.values()):
            self._read_to, self._read_at = newest, time.monotonic()
        ended: dict[str, float] = {}
        for change, entries in changed.items():
            for entry in entries:
                run = self._followed.get(entry.run_id)
                if run is None and entry.run_id in runs:
                    run = _Followed(runs[entry.run_id], recording_of(runs[entry.run_id]), entry.timestamp)
                    self._followed[entry.run_id] = run
                if run is None:
                    continue  # it was deleted
                if change is Event.RUN_START:
                    run.started, run.since, run.told_at = True, entry.timestamp, entry.timestamp
                    yield from self._started(run)
                elif change is not Event.RUN_ENQUEUED:
                    ended[entry.run_id] = entry.timestamp
        if self._followed and time.monotonic() - self._compared > _COMPARED_EVERY_S:
            self._compared = time.monotonic()
            ended |= self._ended_unseen()
        yield from self._ended(ended)

    def _ended_unseen(self) -> dict[str, float]:
        """Runs that ended without an event that was seen: PostgreSQL may show a later event first."""
        found = {run.run_id: run for run in self._instance.get_runs(dg.RunsFilter(run_ids=[*self._followed]))}
        for run_id in self._followed.keys() - found.keys():  # somebody deleted them
            del self._followed[run_id]
        return {run_id: time.time() for run_id, run in found.items() if run.is_finished}

    def _started(self, run: _Followed) -> Iterator[News]:
        if run.recording:
            yield News(run.recording, "started", "started")

    def _ended(self, ended: dict[str, float]) -> Iterator[News]:
        runs = self._instance.get_runs(dg.RunsFilter(run_ids=[*ended])) if ended else []
        for run in sorted(runs, key=lambda one: ended[one.run_id]):
            followed = self._followed[run.run_id]
            if run.status is dg.DagsterRunStatus.FAILURE:
                yield from map(_failed, failures_of_run(self._instance, run))
            elif followed.recording and run.status is dg.DagsterRunStatus.CANCELED:
                yield News(followed.recording, "terminated", "terminated")
            elif followed.recording:
                yield News(followed.recording, self._done(followed, ended[run.run_id]))
            del self._followed[run.run_id]

    def _done(self, run: _Followed, ended: float) -> str:
        results = recording_summary(self._store, run.recording)
        checks = f"checks that did not pass: {results.failed_checks}" if results.failed_checks else ""
        outcome = "; ".join(filter(None, [results.outcome, checks]))
        return f"done in {format_seconds(ended - run.since)}{': ' if outcome else ''}{outcome}"

    def _of_started(self, run: _Followed) -> Iterator[News]:
        """What the steps of a run say."""
        page = self._instance.get_records_for_run(run.run.run_id, cursor=run.cursor, limit=_PAGE)
        run.cursor = page.cursor
        for record in page.records:
            yield from self._of_event(run, record.event_log_entry)
        now = time.time()
        if (
            run.recording
            and run.said
            and now >= max(run.step_since + _SILENT_S, run.told_at + self._silence_s(run, now))
        ):
            is_silent = run.said == run.step
            text = f"{run.step}, for {format_seconds(now - run.step_since)}" if is_silent else run.said
            run.said = ""
            if text != run.told:  # it still waits, say
                run.told, run.told_at = text, now
                yield News(run.recording, text)

    def _of_event(self, run: _Followed, entry: dg.EventLogEntry) -> Iterator[News]:
        event, step = entry.dagster_event, entry.step_key
        if not step or not run.recording:
            return
        if event is None:
            # Of other steps only their progress: their notes on a result are in the result.
            is_progress = entry.user_message.startswith(f"{step} of {run.recording}")
            if isinstance(entry.level, int) and entry.level >= logging.INFO and (step == SORTING or is_progress):
                run.said = _of_step(step, run.recording, entry.user_message)
        elif event.event_type is Event.STEP_START:
            run.step, run.step_since = step, entry.timestamp
            run.said = step
        elif event.event_type is Event.STEP_UP_FOR_RETRY:
            yield News(run.recording, f"{step} is tried again. {run.said}")
            run.said = ""
        elif event.event_type is Event.ENGINE_EVENT and _BLOCKED in (event.message or "") and step not in run.blocked:
            run.blocked.add(step)
            pool = (event.message or "").rpartition(" ")[2]
            yield News(run.recording, *_waits_for_pool(step, pool))

    def _silence_s(self, run: _Followed, now: float) -> float:
        """How long nothing is said of a run: ever longer, and longer where many are at work."""
        at_work = sum(one.started for one in self._followed.values())
        return max(_SILENT_S * at_work, min(_LONGEST_SILENCE_S, (now - run.step_since) / 4))

    def _queued(self) -> Iterator[News]:
        at_work = sum(one.started for one in self._followed.values() if one.recording)
        why = f": {at_work} in progress" if at_work else " for the daemon to start it"
        text = f"waits in the queue{why}"
        for run in self._followed.values():
            if not run.started and not run.queue_told and time.time() - run.since > _QUEUED_S:
                run.queue_told = True
                if run.recording:
                    yield News(run.recording, text, text)


def _failed(failure: RunFailure) -> News:
    step = f" in {failure.step}" if failure.step else ""
    stage = f" ({failure.stage})" if failure.stage else ""
    message = shorten(failure.message, _LONGEST_MESSAGE, placeholder="…")
    again = ", launched again by itself" if failure.launched_again else ""
    failed = f"failed{step}: {failure.failure_class}{again}"
    text = f"{failed}{stage}: {message} Remedy: {failure.remedy}"
    return News(failure.recording or f"job {failure.job}", text, failed)


def _of_step(step: str, recording: str, message: str) -> str:
    """What a step says, without the recording's name: "sorting, kilosort4, 30 s: spike detection, 40 %"."""
    for name, separator in ((f"{step} of {recording}", ""), (f"{recording}, ", ", ")):
        if message.startswith(name):
            return f"{step}{separator}{message.removeprefix(name)}"
    return f"{step}: {message}"


def _waits_for_pool(step: str, pool: str) -> tuple[str, str]:
    what = "a GPU, which another sort has" if pool == GPU_POOL else f"its turn (pool {pool})"
    return f"{step} waits for {what}", f"{step} waits for {what}"
