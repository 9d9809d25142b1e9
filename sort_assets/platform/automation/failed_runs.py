"""What went wrong in a failed run, read from its events, for messages and for retries."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from sort_assets import errors
from sort_assets.platform.automation.notifications import run_link
from sort_assets.platform.execution.retried_runs import is_launched_again
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.partitions import PARTITION_TAG

UNCLASSIFIED = "the run itself"
"""The class of a run that failed without a failed step or a class of its own, as one that was never launched."""

_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_EVENTS = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
_REMEDY = " Remedy: "
_WRAPPER = "DagsterExecutionStepExecutionError"
_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__
_INTERRUPTED_MESSAGE = "Execution was interrupted unexpectedly"
_LINES_LISTED = 10


@dataclass(frozen=True)
class RunFailure:
    """Why a step failed, or a run as a whole.

    Attributes
    ----------
    run_id : str
    job : str
    recording : str
        The partition, or the first and the last one of a range; empty for a run without a partition.
    step : str
        The asset or op that failed; empty for the run as a whole.
    failure_class : str
        The class of the error, or `UNCLASSIFIED`.
    message, remedy : str
        What happened, and what to do about it.
    stage : str
        The sorter's stage, where there is one.
    logs : str
        Folder of the sorter's logs, where there are any.
    launched_again : bool
        Whether Dagster's daemon is still going to launch the run again by itself.
    """

    run_id: str
    job: str
    recording: str
    step: str
    failure_class: str
    message: str
    remedy: str
    stage: str = ""
    logs: str = ""
    launched_again: bool = False

    @property
    def subject(self) -> str:
        """What failed, as a phrase: "sorting of day.nwb"."""
        what = self.step or f"a run of {self.job}"
        return f"{what} of {self.recording}" if self.recording else what

    @property
    def outcome(self) -> str:
        """A phrase like "binary_dat failed: KeyError", without the message where the class says it."""
        what = f"{self.step} failed" if self.step else "failed"
        why = f"{self.failure_class} ({self.message})" if self.failure_class == UNCLASSIFIED else self.failure_class
        return f"{what}: {why}{', launched again by itself' if self.launched_again else ''}"

    @property
    def in_full(self) -> str:
        """Everything, one line each."""
        lines = {
            "Recording": self.recording,
            "Step": self.step,
            "Failure": f"{self.failure_class} in {self.stage}" if self.stage else self.failure_class,
            "What happened": self.message,
            "What to do": self.remedy,
            "Logs": self.logs,
            "Run": run_link(self.run_id),
        }
        return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)


def failures_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[RunFailure]:
    """What went wrong in a failed run: a failure for each failed step, or else one for the run as a whole.

    A step that was interrupted with its run has not failed: the run's process was asked to end.
    """
    events = [event for entry in instance.all_logs(run.run_id, of_type=_EVENTS) if (event := entry.dagster_event)]
    of_engine = _failure_of_engine(run, events)
    if of_engine is not None:  # steps that were ended with the job say no more than that
        return [of_engine]
    with_run = any(_INTERRUPTED_MESSAGE in (event.message or "") for event in events if event.is_run_failure)
    failed = [event for event in events if event.is_step_failure and not _was_interrupted(event, with_run=with_run)]
    return [_step_failure(run, event) for event in failed] or [_failure_as_a_whole(run, events)]


def first_failure(failures: Sequence[RunFailure]) -> RunFailure:
    """The failure of the asset that comes first in the pipeline; without a failed asset, that of the run."""
    return min(failures, key=lambda one: PIPELINE.index(one.step) if one.step in PIPELINE else len(PIPELINE))


def failures_of_a_class(failures: Sequence[RunFailure], more: int = 0) -> str:
    """Text about failures of a class: the first in full, some others by name, and the number of the rest.

    Parameters
    ----------
    failures : sequence of RunFailure
        At least one.
    more : int
        Number of further failures.
    """
    first, *others = failures
    more += len(others[_LINES_LISTED:])
    lines = [first.in_full]
    if others:
        lines.append("The same happened here:")
        lines += [f"- {one.subject}: {run_link(one.run_id)}" for one in others[:_LINES_LISTED]]
    if more:
        lines.append(f"and {more} more times")
    return "\n".join(lines)


def recording_of(run: dg.DagsterRun) -> str:
    """The partition of a run; the first and last one of a range; empty for a run without a partition."""
    first, last = (run.tags.get(tag, "") for tag in _RANGE_TAGS)
    return run.tags.get(PARTITION_TAG) or (f"{first} to {last}" if first != last else first)


def _step_failure(run: dg.DagsterRun, event: dg.DagsterEvent) -> RunFailure:
    data = event.step_failure_data
    failure = data.user_failure_data
    metadata = {name: str(value.value) for name, value in failure.metadata.items()} if failure else {}
    error = data.error
    if error and error.cause and error.cls_name == _WRAPPER:
        error = error.cause
    remedy = metadata.get("remedy", "See the run, then launch it again.")
    failure_class = metadata.get("failure_class") or (error.cls_name if error else None) or UNCLASSIFIED
    message = (failure.description if failure else None) or (error.message.strip() if error else "") or "No message."
    return RunFailure(
        run_id=run.run_id,
        job=run.job_name,
        recording=recording_of(run),
        step=event.step_key or "",
        failure_class=failure_class,
        # `render_failure` makes the description of all three.
        message=message.removeprefix(f"{failure_class}: ").removesuffix(f" Remedy: {remedy}"),
        remedy=remedy,
        stage=metadata.get("stage", ""),
        logs=metadata.get("logs", ""),
    )


def _was_interrupted(event: dg.DagsterEvent, *, with_run: bool) -> bool:
    """Whether a step was interrupted because its run was: asked to end, or its worker killed."""
    if not with_run and event.step_failure_data.user_failure_data is not None:
        return False  # the step alone was asked to end, and says so
    error = event.step_failure_data.error
    while error is not None and error.cls_name != _INTERRUPTED:
        error = error.cause
    return error is not None


def _failure_of_engine(run: dg.DagsterRun, events: Sequence[dg.DagsterEvent]) -> RunFailure | None:
    """The failure that an engine has classified, as that of a Slurm job which was lost; None where there is none."""
    for event in reversed(events):
        error = None if event.is_step_failure else getattr(event.event_specific_data, "error", None)
        if error is None or error.cls_name is None or not hasattr(errors, error.cls_name):
            continue  # an executor within one process says of a failed step, with Dagster's class, that the run failed
        if (parts := error.message.partition(_REMEDY))[1]:
            return RunFailure(
                run_id=run.run_id,
                job=run.job_name,
                recording=recording_of(run),
                step="",
                failure_class=error.cls_name,
                message=parts[0],
                remedy=parts[2].strip(),
                launched_again=is_launched_again(run),
            )
    return None


def _failure_as_a_whole(run: dg.DagsterRun, events: Sequence[dg.DagsterEvent]) -> RunFailure:
    last = events[-1] if events else None
    return RunFailure(
        run_id=run.run_id,
        job=run.job_name,
        recording=recording_of(run),
        step="",
        failure_class=UNCLASSIFIED,
        message=_message_of_run(last.message if last else None),
        launched_again=is_launched_again(run),
        remedy="Nothing: `sort-assets up` launches it again by itself."
        if is_launched_again(run)
        else "See the run, then launch it again.",
    )


def _message_of_run(message: str | None) -> str:
    if message and _INTERRUPTED_MESSAGE in message:
        return (
            "The run's process was asked to end, and nobody had terminated the run: `sort-assets up` was stopped, the "
            "machine was shut down, or somebody ended the process."
        )
    return message or "No message."
