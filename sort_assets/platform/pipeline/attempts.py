"""The attempts of one step: what the earlier ones taught, what this one may use, and what follows when it fails."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.backends.oom_schedule import changed_fields
from sort_assets.config import ExecutionConfig, SortingPipelineConfig
from sort_assets.errors import OutOfMemoryError, SortAssetsError, StepCrashedError
from sort_assets.platform.pipeline.failure_rendering import classified, in_words, render_failure
from sort_assets.platform.pipeline.retries import Decision, decide
from sort_assets.platform.store.dead_staging import logs_of_a_sort
from sort_assets.platform.store.failures import LOGS, FailedAttempt, failed_attempts, failure_folder, record_failure
from sort_assets.platform.store.store import Staging, Store

if TYPE_CHECKING:
    from sort_assets.backends import SorterBackend

WORK = "work"
"""In the record of a failed attempt: its working folder, where that is kept."""


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
    sorter: "SorterBackend"
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
                self._judge_the_dead()
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

    def _judge_the_dead(self) -> None:
        """Scale the sorter's configuration as the earlier attempts did, and stop where no attempt should have followed.

        An attempt that could say how it failed was judged then. One that was killed, or whose watchdog had to end the
        whole process, was started again by Dagster, whatever it died of.
        """
        before: list[SortAssetsError] = []
        for attempt in self.earlier:
            decision = self._decide(attempt.error, before)
            if not decision.retry:
                raise self._final(attempt.error, self.earlier, decision) from attempt.error
            time.sleep(max(0.0, decision.wait_s - (datetime.now(UTC) - attempt.time).total_seconds()))
            before.append(attempt.error)
        # Those died before they could leave anything.
        unseen = StepCrashedError(
            "The step's process was killed or crashed as it started.",
            remedy="Look whether the machine ran out of memory (`journalctl -k`); then launch again.",
        )
        for _ in range(len(self.earlier), self.staging.attempt - 1):
            decision = self._decide(unseen, before)
            if not decision.retry:
                raise self._final(unseen, self.earlier, decision) from unseen
            before.append(unseen)

    def _decide(self, error: SortAssetsError, before: list[SortAssetsError]) -> Decision:
        reduced = isinstance(error, OutOfMemoryError) and self.scale_after(error)
        return decide(error, before, self.execution, reduced=reduced)

    def _verdict(self, error: SortAssetsError) -> dg.Failure | dg.RetryRequested:
        ran_with = self.scaled
        decision = self._decide(error, [attempt.error for attempt in self.earlier])
        record = self._record(error, ran_with, decision)
        if not decision.retry:
            return self._final(error, [*self.earlier, *record], decision)
        self.log(f"{type(error).__name__}: {error.message} {decision.reason}")
        return dg.RetryRequested(max_retries=self.staging.attempt, seconds_to_wait=decision.wait_s)

    def _final(self, error: SortAssetsError, tried: list[FailedAttempt], decision: Decision) -> dg.Failure:
        staging = self.staging
        versions = [attempt.version for attempt in tried][-1:]
        logs = [failure_folder(self.store, staging.recording, staging.asset, version) / LOGS for version in versions]
        return render_failure(error, tried, decision.reason, next(iter(logs), None))

    def _record(self, error: SortAssetsError, ran_with: Mapping[str, Any], decision: Decision) -> list[FailedAttempt]:
        staging = self.staging
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
                logs=logs_of_a_sort(staging.path),
                retried=decision.retry,
            )
        except OSError as full:  # the disk, most likely: what went wrong first is what people must hear
            self.log(f"The record of this failure could not be written: {full}")
            return []
        if self.execution.keep_failed_work and staging.path.is_dir():
            kept = failure_folder(self.store, staging.recording, staging.asset, staging.version) / WORK
            try:
                staging.path.rename(kept)
            except OSError as reason:
                self.log(f"The working folder of this attempt could not be kept: {reason}")
        return [record]
