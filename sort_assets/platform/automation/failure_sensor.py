"""The sensor that tells people about failed runs, soon after, and not forty times.

What fails in the same way again is held back for a while, and then told in one message; the while doubles for as long
as it goes on. Dagster's own run-failure sensors can't do that: they are called once for each run, and never again for
a message that did not arrive.
"""

import time
from typing import Final

import dagster as dg
from pydantic import BaseModel, Field, ValidationError

from sort_assets.config.settings import NOTIFY_VARIABLE
from sort_assets.platform.automation.failed_runs import UNCLASSIFIED, RunFailure, failures_of_a_class, failures_of_run
from sort_assets.platform.automation.notifications import Message, destinations, in_words, send

EVERY_S = 30
QUIET_S = 900.0
"""After a message about one class of failure: no other about it. A sort that fails at once does so within a minute,
so this sums up what a full disk does to a whole queue."""
LONGEST_QUIET_S = 4 * 3600.0
"""While one thing goes on: at most a handful of messages in a night."""
TRIES = 5
"""Of a message that does not arrive; with the waits between them, during about an hour and a half."""
_WAIT_S = 60.0
_WAIT_GROWS = 4.0
_RUNS_PER_TICK = 50
_RUNS_NAMED = 11
_MESSAGES_KEPT = 20
_RETRIES_PER_TICK = 2  # at up to `SEND_TIMEOUT_S` each, within the 60 s of a tick

_FAILURES: Final = dg.DagsterEventType.RUN_FAILURE


class Suppression(BaseModel):
    """A class of failure that was told lately.

    Attributes
    ----------
    until : float
        When it may be told again, in seconds since 1970.
    length_s : float
        How long this quiet is in all.
    runs : list of str
        The first of the runs that failed meanwhile.
    count : int
        How many did.
    """

    until: float
    length_s: float
    runs: list[str] = Field(default_factory=list)
    count: int = 0


class PendingMessage(BaseModel):
    """A message that did not arrive everywhere.

    Attributes
    ----------
    title, text : str
    to : list of int
        The destinations that lack it, by their number.
    tries : int
        How often it was sent.
    not_before : float
        When to try again, in seconds since 1970.
    """

    title: str
    text: str
    to: list[int]
    tries: int = 0
    not_before: float = 0.0


class SensorState(BaseModel):
    """What the sensor remembers from tick to tick, as its cursor.

    Attributes
    ----------
    after : int
        The event of the last failure that was looked at.
    quiet : dict
        By class of failure.
    unsent : list of PendingMessage
    """

    after: int
    quiet: dict[str, Suppression] = Field(default_factory=dict)
    unsent: list[PendingMessage] = Field(default_factory=list)


@dg.sensor(
    name="recording_failed",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Tells about failed runs wherever {NOTIFY_VARIABLE} says; idle while it says nothing.",
)
def recording_failed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Tell about the runs that have failed since the last tick."""
    if not destinations():
        # Whoever sets it later does not want to hear of all that failed before.
        context.update_cursor(None)
        return dg.SensorResult(skip_reason=f"{NOTIFY_VARIABLE} is not set.")
    state = _state(context)
    if state is None:
        state = SensorState(after=_newest_failure(context.instance))
        return dg.SensorResult(skip_reason="From now on, failed runs are told.", cursor=state.model_dump_json())
    now = time.time()
    told = _retry(state, context, now)
    if message := _message(_due(state, _new_failures(state, context), context, now)):
        everybody = [destination.number for destination in destinations()]
        told.append(_send(state, PendingMessage(title=message.title, text=message.text, to=everybody), context, now))
    return dg.SensorResult(skip_reason=" ".join(told) or "No run has failed.", cursor=state.model_dump_json())


def _state(context: dg.SensorEvaluationContext) -> SensorState | None:
    if context.cursor is None:
        return None
    try:
        return SensorState.model_validate_json(context.cursor)
    except ValidationError:
        context.log.warning("The cursor is not one of this sensor; failed runs are told from now on.")
        return None


def _newest_failure(instance: dg.DagsterInstance) -> int:
    records = instance.fetch_run_status_changes(_FAILURES, limit=1).records
    return records[0].storage_id if records else 0


def _new_failures(state: SensorState, context: dg.SensorEvaluationContext) -> dict[str, list[RunFailure]]:
    """The runs that have failed since, by what went wrong; one failure for each run and class."""
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
    """What is to be told now: by class, failures to name, and how many there are in all. The rest is held back."""
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
    except Exception as error:  # one damaged event log must not keep all others from being told
        context.log.warning(f"What went wrong in run {run_id} can't be read.", exc_info=True)
        words = f"Its event log can't be read ({type(error).__name__})."
        failures = [RunFailure(run_id, run.job_name, "", "", UNCLASSIFIED, words, "See the run.")]
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


def _retry(state: SensorState, context: dg.SensorEvaluationContext, now: float) -> list[str]:
    """Send what did not arrive again; returns what became of it."""
    waiting = [message for message in state.unsent if message.not_before <= now][:_RETRIES_PER_TICK]
    state.unsent = [message for message in state.unsent if message not in waiting]
    return [_send(state, message, context, now) for message in waiting]


def _send(state: SensorState, message: PendingMessage, context: dg.SensorEvaluationContext, now: float) -> str:
    """Send a message, and keep it where it did not arrive; returns what became of it."""
    to = [destination for destination in destinations() if destination.number in message.to]
    undelivered = send(Message(message.title, message.text), to)
    if not undelivered:
        return f"Told: {message.title}."
    tries = message.tries + 1
    again = tries < TRIES
    context.log.warning(
        f"This could not be told, and {'is tried again' if again else 'is given up'}: {in_words(undelivered)}.\n"
        f"{message.title}\n{message.text}"
    )
    if again:
        wait_s = _WAIT_S * _WAIT_GROWS**message.tries
        numbers = [one.destination.number for one in undelivered]
        late = message.model_copy(update={"to": numbers, "tries": tries, "not_before": now + wait_s})
        state.unsent.append(late)
        for dropped in state.unsent[:-_MESSAGES_KEPT]:
            context.log.warning(f"Too many messages wait; this one is given up: {dropped.title}")
        state.unsent = state.unsent[-_MESSAGES_KEPT:]
    return f"Not told{'' if again else ', and given up'}: {message.title}."
