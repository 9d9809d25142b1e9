"""The attempts of one step: what the earlier ones taught, what this one may use, and what follows when it fails."""

import errno
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from sort_assets.backends import SorterBackend
from sort_assets.backends.memory import changed_fields
from sort_assets.config import ExecutionConfig, SortingPipelineConfig
from sort_assets.errors import (
    DiskFullError,
    HostOutOfMemoryError,
    OutOfMemoryError,
    SortAssetsError,
    UnexpectedError,
)
from sort_assets.execution.retries import Decision, decide, refuse_another_crash
from sort_assets.storage import Staging, Store
from sort_assets.storage.dead_staging import LOGS_OF_A_SORT
from sort_assets.storage.failures import FailedAttempt, failed_attempts, failure_folder, record_failure

WORK = "work"
"""In the record of a failed attempt: its working folder, where that is kept."""
_EXCERPT_LINES = 25
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Attempt:
    """One attempt of a step, in its staging folder.

    Parameters
    ----------
    store : Store
    staging : Staging
        Of this attempt; names recording, asset, run and the attempt's number.
    sorter : SorterBackend
        Its configuration is scaled for this attempt, and put back afterwards.
    log : callable
        Told what is tried.
    """

    store: Store
    staging: Staging
    sorter: SorterBackend
    log: Callable[[str], None]

    def __post_init__(self) -> None:
        staging = self.staging
        self.configured: SortingPipelineConfig = self.sorter.config
        self.earlier: list[FailedAttempt] = failed_attempts(
            self.store, staging.recording, staging.asset, run_id=staging.run_id
        )

    @property
    def execution(self) -> ExecutionConfig:
        """How often to try."""
        return self.configured.execution

    @property
    def scaled(self) -> dict[str, list[Any]]:
        """Fields that were scaled, with the configured and the present value."""
        return changed_fields(self.configured, self.sorter.config)

    def scale_after(self, error: SortAssetsError) -> bool:
        """Scale the sorter's configuration after a failure; returns whether something changed."""
        return self.sorter.scale_oom_params(self.execution.oom_retry_factor, failure=error)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Run the block with the parameters that the earlier attempts of this run leave, and judge its failure.

        The sorter's parameters are put back at the end, however that comes.

        Raises
        ------
        dagster.RetryRequested
            When another attempt follows, in a new process; it finds this one's record in the store.
        dagster.Failure
            When none does; with everything that was tried.
        """
        snapshot = self.sorter.snapshot_oom_params()
        try:
            try:
                refuse_another_crash(
                    self.staging.attempt - 1, [attempt.error for attempt in self.earlier], self.execution
                )
                for attempt in self.earlier:
                    if isinstance(attempt.error, OutOfMemoryError):
                        self.scale_after(attempt.error)
                if self.scaled:
                    self.log(f"Attempt {self.staging.attempt} takes less memory: {in_words(self.scaled)}.")
                yield
            except (dg.Failure, dg.RetryRequested):
                raise
            except Exception as error:
                failure = classified(error, self.staging.asset)
                if failure is not error:
                    failure.__cause__ = error
                raise self._verdict(failure) from failure
        finally:
            self.sorter.restore_oom_params(snapshot)

    def _verdict(self, error: SortAssetsError) -> dg.Failure | dg.RetryRequested:
        ran_with = self.scaled
        eased = isinstance(error, OutOfMemoryError) and self.scale_after(error)
        decision = decide(error, [attempt.error for attempt in self.earlier], self.execution, eased=eased)
        record = self._record(error, ran_with, decision)
        if not decision.retry:
            return failure_in_words(error, [*self.earlier, *record], reason=decision.reason)
        self.log(f"{type(error).__name__}: {error.message} {decision.reason}")
        return dg.RetryRequested(max_retries=self.staging.attempt, seconds_to_wait=decision.wait_s)

    def _record(self, error: SortAssetsError, ran_with: Mapping[str, Any], decision: Decision) -> list[FailedAttempt]:
        staging = self.staging
        logs = [log for pattern in LOGS_OF_A_SORT for log in sorted(staging.path.glob(pattern))]
        try:
            record = record_failure(
                self.store,
                staging.recording,
                staging.asset,
                version=staging.version,
                run_id=staging.run_id,
                attempt=staging.attempt,
                error=error,
                scaled=ran_with,
                logs=logs,
                retried=decision.retry,
            )
        except OSError as full:  # the disk, most likely: what went wrong first is what people must hear
            self.log(f"The record of this failure could not be written: {full}")
            return []
        if self.execution.keep_failed_work and staging.path.is_dir():
            kept = failure_folder(self.store, staging.recording, staging.asset, staging.version) / WORK
            shutil.rmtree(kept, ignore_errors=True)
            staging.path.rename(kept)
        return [record]


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
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return DiskFullError(
            f"No space is left on the disk: {error}",
            remedy="Free space in the store (`sort-assets gc` removes what is no longer needed), then launch again.",
            stage=stage,
            log_excerpt=excerpt,
            path=str(error.filename) if error.filename else None,
        )
    return UnexpectedError(
        f"{type(error).__name__}: {error}",
        remedy="Nothing in sort_assets expects this. Please report it, with the traceback.",
        stage=stage,
        log_excerpt=excerpt,
    )


def failure_in_words(error: SortAssetsError, tried: list[FailedAttempt] | None = None, reason: str = "") -> dg.Failure:
    """The failure as Dagster shows it: what happened, what to do, and everything that was tried; not retried.

    Parameters
    ----------
    error : SortAssetsError
    tried : list of FailedAttempt or None
        All attempts, this one included.
    reason : str
        Why no other attempt follows.
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
                    "ran with": in_words(attempt.scaled) or "as configured",
                }
            )
            for attempt in tried
        ]
    )


def in_words(scaled: Mapping[str, Any]) -> str:
    """Scaled fields as people read them: "sorter.params.batch_size 60000 -> 30000"."""
    return ", ".join(
        f"{name} {'default' if before is None else before} -> {after}" for name, (before, after) in scaled.items()
    )
