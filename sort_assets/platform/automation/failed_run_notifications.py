"""The sensor `recording_failed`: a message about failed runs, soon after they failed, and one for many of a kind.

Failures of a class that was reported lately are held back for a while, and then reported in one message. The while
doubles for as long as such failures go on. Dagster's own run-failure sensors can't do that, since they are called once
for each run.

A message that can't be delivered is logged, and not sent again: the digest names whatever still stands.
"""

import time
from typing import Final

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError

from sort_assets.config.settings import NOTIFY_VARIABLE
from sort_assets.platform.automation.failed_runs import UNCLASSIFIED, RunFailure, failures_of_a_class, failures_of_run
from sort_assets.platform.automation.notifications import Message, destinations, format_undelivered, send

INTERVAL_S = 30
_INTERVAL_WITHOUT_DESTINATIONS_S = 3600
"""Such a tick finds nothing to do and costs the daemon a dozen transactions. The environment is read when the code is
loaded, so destinations that are set later hold from then on, and so does the short interval."""
QUIET_S = 900.0
"""Time after a message about a class of failures in which no other message about that class is sent.

A sort that fails immediately does so within a minute, so this sums up what a full disk does to a whole queue.
"""
LONGEST_QUIET_S = 4 * 3600.0
"""Longest time between two messages about a class of failures that goes on: a handful of messages in a night."""
_RUNS_PER_TICK = 50
_RUNS_NAMED = 11

_FAILURES: Final = dg.DagsterEventType.RUN_FAILURE


class Suppression(BaseModel):
    """Failures of a class that was reported lately, and that are held back.

    Attributes
    ----------
    until : float
        When the class may be reported again, in seconds since 1970.
    length_s : float
        Length of the suppression in all.
    runs : list of str
        The first of the runs that failed meanwhile.
    count : int
        Number of all runs that failed meanwhile.
    """

    model_config = ConfigDict(defer_build=True)

    until: float
    length_s: float
    runs: list[str] = []
    count: int = 0


class SensorState(BaseModel):
    """The sensor's cursor.

    Attributes
    ----------
    after : int
        The event of the last failure that was handled.
    quiet : dict
        The suppressions, by class of failures.
    """

    model_config = ConfigDict(defer_build=True)

    after: int
    quiet: dict[str, Suppression] = {}


@dg.sensor(
    name="recording_failed",
    minimum_interval_seconds=INTERVAL_S if destinations() else _INTERVAL_WITHOUT_DESTINATIONS_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Sends messages about failed runs to the URLs of {NOTIFY_VARIABLE}; idle while it is not set.",
)
def recording_failed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Send a message about the runs that have failed since the last tick."""
    if not destinations():
        # Whoever sets it later does not want messages about all that failed before.
        context.update_cursor(None)
        return dg.SensorResult(skip_reason=f"{NOTIFY_VARIABLE} is not set.")
    state = _state(context)
    if state is None:
        state = SensorState(after=_newest_failure(context.instance))
        return dg.SensorResult(skip_reason="Failed runs are reported from now on.", cursor=state.model_dump_json())
    message = _message(_due(state, _new_failures(state, context), context, time.time()))
    reason = _send(message, context) if message else "No run has failed."
    return dg.SensorResult(skip_reason=reason, cursor=state.model_dump_json())


def _state(context: dg.SensorEvaluationContext) -> SensorState | None:
    if context.cursor is None:
        return None
    try:
        return SensorState.model_validate_json(context.cursor)
    except ValidationError:
        context.log.warning("The cursor is not one of this sensor; failed runs are reported from now on.")
        return None


def _newest_failure(instance: dg.DagsterInstance) -> int:
    records = instance.fetch_run_status_changes(_FAILURES, limit=1).records
    return records[0].storage_id if records else 0


def _new_failures(state: SensorState, context: dg.SensorEvaluationContext) -> dict[str, list[RunFailure]]:
    """The runs that have failed since the last tick, by class: one failure for each run and class."""
    new: dict[str, list[RunFailure]] = {}
    records = context.instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(event_type=_FAILURES, after_storage_id=state.after),
        limit=_RUNS_PER_TICK,
        ascending=True,
    ).records
    for record in records:
        state.after = record.storage_id
        for failure_class, failure in _failures(record.event_log_entry.run_id, context).items():
            new.setdefault(failure_class, []).append(failure)
    return new


def _due(
    state: SensorState, new: dict[str, list[RunFailure]], context: dg.SensorEvaluationContext, now: float
) -> dict[str, tuple[list[RunFailure], int]]:
    """What to report now: by class, the failures to name, and the number of all. The rest is held back."""
    due = {}
    for failure_class in sorted({*new, *state.quiet}):
        found, quiet = new.get(failure_class, []), state.quiet.get(failure_class)
        if quiet is not None and now < quiet.until:
            quiet.count += len(found)
            quiet.runs = [*quiet.runs, *(one.run_id for one in found)][:_RUNS_NAMED]
            continue
        held = [_failures(run_id, context).get(failure_class) for run_id in quiet.runs] if quiet else []
        named = [one for one in held if one is not None] + found
        if quiet is not None and quiet.count:
            length_s, count = min(2 * quiet.length_s, LONGEST_QUIET_S), quiet.count + len(found)
        else:
            length_s, count = QUIET_S, len(found)
        if named:
            due[failure_class] = (named, count)
            state.quiet[failure_class] = Suppression(until=now + length_s, length_s=length_s)
        elif quiet is not None:
            del state.quiet[failure_class]
    return due


def _failures(run_id: str, context: dg.SensorEvaluationContext) -> dict[str, RunFailure]:
    """What went wrong in a run, by class; empty for a run that is gone, or of another code location."""
    run = context.instance.get_run_by_id(run_id)
    if run is None or _is_of_another_location(run, context):
        return {}
    try:
        failures = failures_of_run(context.instance, run)
    except Exception as error:  # a damaged event log must not suppress all other messages
        context.log.warning(f"What went wrong in run {run_id} can't be read.", exc_info=True)
        reason = f"Its event log can't be read ({type(error).__name__})."
        failures = [RunFailure(run_id, run.job_name, "", "", UNCLASSIFIED, reason, "See the run.")]
    return {one.failure_class: one for one in reversed(failures)}


def _is_of_another_location(run: dg.DagsterRun, context: dg.SensorEvaluationContext) -> bool:
    ours, origin = context.code_location_origin, run.remote_job_origin
    return ours is not None and origin is not None and origin.location_name != ours.location_name


def _message(due: dict[str, tuple[list[RunFailure], int]]) -> Message | None:
    if not due:
        return None
    failures = [one for named, _ in due.values() for one in named]
    total = sum(count for _, count in due.values())
    if total == 1:
        reason = "" if UNCLASSIFIED in due else f": {failures[0].failure_class}"
        title = f"{failures[0].subject} failed{reason}"
    else:
        title = f"{total} runs failed: {', '.join(f'{name} ({count})' for name, (_, count) in due.items())}"
    texts = [failures_of_a_class(named, count - len(named)) for named, count in due.values()]
    return Message(f"sort_assets: {title}", "\n\n".join(texts))


def _send(message: Message, context: dg.SensorEvaluationContext) -> str:
    """Send a message; returns whether it was delivered, in a sentence."""
    undelivered = send(message)
    if not undelivered:
        return f"Sent: {message.title}."
    context.log.warning(
        f"This message was not delivered; the digest names what still stands. {format_undelivered(undelivered)}.\n"
        f"{message.title}\n{message.text}"
    )
    return f"Not delivered: {message.title}."
