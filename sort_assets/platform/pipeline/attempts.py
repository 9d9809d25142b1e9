"""The attempts of one step: what this one runs with after the earlier ones, and what follows when it fails."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.config import ExecutionConfig, ResolvedConfig
from sort_assets.errors import OutOfMemoryError, SortAssetsError, StepCrashedError
from sort_assets.platform.pipeline.attempt_settings import AttemptSettings, decide_settings
from sort_assets.platform.pipeline.failure_rendering import classified, format_scaled_fields, render_failure
from sort_assets.platform.pipeline.retries import RetryDecision, decide_retry
from sort_assets.platform.store.dead_staging import logs_of_a_sort
from sort_assets.platform.store.failures import FailedAttempt, failure_folder, failures_to_learn_from, record_failure
from sort_assets.platform.store.layout import LOGS, WORK
from sort_assets.platform.store.manifest import Manifest
from sort_assets.platform.store.memory_profiles import MemoryProfile
from sort_assets.platform.store.store import Staging, Store

if TYPE_CHECKING:
    from sort_assets.platform.execution.leases import Lease


@dataclass
class Attempt:
    """One attempt of a step, in its staging folder.

    Parameters
    ----------
    store : Store
    staging : Staging
        Of this attempt; names recording, asset, run and the attempt's number.
    resolved : ResolvedConfig
        The recording's configuration.
    upstream : Manifest or None
        Of the artefact that is read.
    log : callable
        Told what is tried.
    runs_before : sequence of str
        The runs of which this one is the automatic retry, oldest first.

    Attributes
    ----------
    earlier : list of FailedAttempt
        The failed attempts of the same run and of those before it, oldest first.
    settings : AttemptSettings
        What this attempt runs with.
    """

    store: Store
    staging: Staging
    resolved: ResolvedConfig
    upstream: Manifest | None
    log: Callable[[str], None]
    runs_before: Sequence[str] = ()

    def __post_init__(self) -> None:
        staging = self.staging
        self.earlier: list[FailedAttempt] = failures_to_learn_from(
            self.store, staging.recording, staging.asset, run_id=staging.run_id, runs_before=self.runs_before
        )
        self.settings: AttemptSettings = self._decide_settings(self.earlier)

    @property
    def execution(self) -> ExecutionConfig:
        """How often to try."""
        return self.settings.configured.config.execution

    def hold(self, device: "Lease | None", profile: MemoryProfile | None) -> None:
        """Decide the settings anew, with the device that is held and the memory profile that is known for it.

        Raises
        ------
        SorterEnvironmentError
            When a GPU was asked for and there is none.
        """
        self.settings = self._decide_settings(self.earlier, device=device, profile=profile)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Run the block, and decide what follows when it fails.

        Raises
        ------
        dagster.RetryRequested
            When another attempt follows, in a new process; it finds this one's record in the store.
        dagster.Failure
            When none does; with everything that was tried.
        """
        try:
            self._decide_on_earlier()
            if self.settings.scaled:
                taken = format_scaled_fields(self.settings.scaled)
                self.log(f"Attempt {self.staging.attempt} takes less memory: {taken}.")
            yield
        except (dg.Failure, dg.RetryRequested):
            raise
        except Exception as error:
            failure = classified(error, self.staging.asset)
            if failure is not error:
                failure.__cause__ = error
            raise self._outcome_of(failure) from failure

    def _decide_settings(self, failed: Iterable[FailedAttempt], **held: Any) -> AttemptSettings:
        failures = [attempt.error for attempt in failed]
        return decide_settings(self.resolved, self.staging.asset, upstream=self.upstream, failures=failures, **held)

    def _decide_on_earlier(self) -> None:
        """Stop where no attempt should have followed the earlier ones.

        For an attempt that could say how it failed, that was decided then. One that was killed, or whose watchdog had
        to end the whole process, was started again by Dagster, whatever it died of. Those of the runs before this one
        count, but stop nothing here: that this run follows them was decided when they ended, for a node that was lost.
        """
        before: list[SortAssetsError] = []
        for number, attempt in enumerate(self.earlier):
            decision = self._decide(attempt.error, before, self._decide_settings(self.earlier[:number]))
            if not decision.retry and attempt.run_id == self.staging.run_id:
                raise self._final(attempt.error, self.earlier, decision) from attempt.error
            time.sleep(max(0.0, decision.wait_s - (datetime.now(UTC) - attempt.time).total_seconds()))
            before.append(attempt.error)
        # Those died before they could leave anything.
        unseen = StepCrashedError(
            "The step's process was killed or crashed as it started.",
            remedy="Look whether the machine ran out of memory (`journalctl -k`); then launch again.",
        )
        seen = sum(one.run_id == self.staging.run_id for one in self.earlier)
        for _ in range(seen, self.staging.attempt - 1):
            decision = self._decide(unseen, before, self.settings)
            if not decision.retry:
                raise self._final(unseen, self.earlier, decision) from unseen
            before.append(unseen)

    def _decide(
        self, error: SortAssetsError, before: list[SortAssetsError], settings: AttemptSettings
    ) -> RetryDecision:
        reduced = isinstance(error, OutOfMemoryError) and settings.reduced_after(error) is not None
        return decide_retry(error, before, self.execution, reduced=reduced)

    def _outcome_of(self, error: SortAssetsError) -> dg.Failure | dg.RetryRequested:
        decision = self._decide(error, [attempt.error for attempt in self.earlier], self.settings)
        record = self._record(error, decision)
        if not decision.retry:
            return self._final(error, [*self.earlier, *record], decision)
        self.log(f"{type(error).__name__}: {error.message} {decision.reason}")
        return dg.RetryRequested(max_retries=self.staging.attempt, seconds_to_wait=decision.wait_s)

    def _final(self, error: SortAssetsError, tried: list[FailedAttempt], decision: RetryDecision) -> dg.Failure:
        staging = self.staging
        versions = [attempt.version for attempt in tried][-1:]
        logs = [failure_folder(self.store, staging.recording, staging.asset, version) / LOGS for version in versions]
        return render_failure(error, tried, decision.reason, next(iter(logs), None))

    def _record(self, error: SortAssetsError, decision: RetryDecision) -> list[FailedAttempt]:
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
                scaled=self.settings.scaled,
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
