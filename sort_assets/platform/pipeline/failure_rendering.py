"""Failures as Dagster shows them: what happened, what to do, and everything that was tried."""

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from sort_assets.errors import (
    GpuMemoryTakenError,
    HostOutOfMemoryError,
    SortAssetsError,
    StepCrashedError,
    UnexpectedError,
    os_failure,
)
from sort_assets.platform.pipeline.retries import failures_to_reduce_after
from sort_assets.platform.store.failures import FailedAttempt

_EXCERPT_LINES = 25


@contextmanager
def render_failures() -> Iterator[None]:
    """Turn every failure into a `dagster.Failure` that says what happened and what to do, and is not retried.

    Whatever is raised outside of it in a step, Dagster tries again as often as `CRASH_RETRIES` says.
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        # With a retry policy, Dagster would take an interrupt for a reason to try again.
        raise render_failure(_interrupted()) from interrupt
    except Exception as error:
        raise render_failure(classified(error, "")) from error


def _interrupted() -> StepCrashedError:
    return StepCrashedError(
        "The step was interrupted: its process was asked to end (SIGTERM or SIGINT).",
        remedy="If nobody meant to end it, see in the journal whether a program that watches the memory (earlyoom, "
        "systemd-oomd) chose this process; then launch again.",
    )


def classified(error: Exception, stage: str) -> SortAssetsError:
    """The classified failure for any exception of a step."""
    if isinstance(error, SortAssetsError):
        return error
    excerpt = "\n".join(traceback.format_exc().strip().splitlines()[-_EXCERPT_LINES:])
    if isinstance(error, MemoryError):
        return HostOutOfMemoryError(
            f"The machine's memory is used up: {error}",
            remedy="Lower execution.n_jobs or execution.chunk_duration_s, or end other programs.",
            stage=stage,
            log_excerpt=excerpt,
        )
    if isinstance(error, OSError) and (failure := os_failure(error, stage)) is not None:
        failure.log_excerpt = excerpt
        return failure
    return UnexpectedError(
        f"{type(error).__name__}: {error}",
        remedy="Nothing in sort_assets expects this. Please report it, with the traceback.",
        stage=stage,
        log_excerpt=excerpt,
    )


def render_failure(
    error: SortAssetsError,
    tried: list[FailedAttempt] | None = None,
    reason: str = "",
    logs: Path | None = None,
) -> dg.Failure:
    """The failure as Dagster shows it: what happened, what to do, and everything that was tried; not retried.

    Parameters
    ----------
    error : SortAssetsError
    tried : list of FailedAttempt or None
        All attempts, this one included.
    reason : str
        Why no other attempt follows.
    logs : Path or None
        Where the logs are kept.
    """
    metadata: dict[str, Any] = {
        "failure_class": type(error).__name__,
        "remedy": dg.MetadataValue.md(error.remedy),
    }
    if error.stage:
        metadata["stage"] = error.stage
    if error.log_excerpt:
        metadata["log_excerpt"] = dg.MetadataValue.md(f"```\n{error.log_excerpt}\n```")
    if error.diagnostics:
        metadata["diagnostics"] = dg.MetadataValue.json(error.diagnostics)
    if reason:
        metadata["retry"] = reason
    if logs is not None and logs.is_dir():
        metadata["logs"] = dg.MetadataValue.path(logs)
    if tried:
        metadata["attempts"] = attempts_table(tried)
    return dg.Failure(description=f"{type(error).__name__}: {error}", metadata=metadata, allow_retries=False)


def attempts_table(tried: list[FailedAttempt]) -> dg.TableMetadataValue:
    """Failed attempts as a table."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "attempt": attempt.attempt,
                    "failure": type(attempt.error).__name__,
                    "stage": attempt.error.stage or "",
                    "message": attempt.error.message,
                    "ran with": format_scaled_fields(attempt.scaled) or "as configured",
                }
            )
            for attempt in tried
        ]
    )


def why_lowered(scaled: Mapping[str, Any], failures: Iterable[SortAssetsError]) -> str:
    """Why a sort ran with lowered parameters, and which; another program that held the GPU's memory is named.

    Parameters
    ----------
    scaled : Mapping of str to Any
        As in `format_scaled_fields`.
    failures : iterable of SortAssetsError
        Of the earlier attempts, oldest first.
    """
    text = f"Memory ran out, so that the sorter ran with {format_scaled_fields(scaled)}."
    taken = [one for one in failures_to_reduce_after(failures) if isinstance(one, GpuMemoryTakenError)]
    return f"{text} Another program held the GPU's memory. {taken[-1].message}" if taken else text


def format_scaled_fields(scaled: Mapping[str, Any]) -> str:
    """Scaled fields as people read them: "sorter.params.batch_size 60000 -> 30000"."""
    return ", ".join(
        f"{name} {'default' if before is None else before} -> {after}" for name, (before, after) in scaled.items()
    )
