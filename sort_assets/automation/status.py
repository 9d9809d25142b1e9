"""Recordings times assets: what is done, what came out, what failed, and how the last run ended."""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from sort_assets.automation.jobs import PIPELINE
from sort_assets.errors import StoreError
from sort_assets.partitions import RECORDINGS_PARTITIONS
from sort_assets.storage import Manifest, Store
from sort_assets.storage.failures import FailedAttempt, failed_attempts, failure_folder

_PARTITION_TAG = "dagster/partition"
_RUNS_LOOKED_AT = 5000
_ENDED = {
    status.value for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
}


@dataclass(frozen=True)
class Failure:
    """The newest failed attempt of a recording that no success of the same asset followed.

    Attributes
    ----------
    asset : str
        What was to be made.
    failure_class, message, remedy : str
        The classified error.
    stage : str or None
        The sorter's stage.
    time : str
        When, in UTC, as ISO 8601.
    run_id : str
    attempt : int
        Of the run; the first is 1.
    retried : bool
        Whether another attempt was to follow.
    folder : str
        Where the logs are.
    """

    asset: str
    failure_class: str
    message: str
    remedy: str
    stage: str | None
    time: str
    run_id: str
    attempt: int
    retried: bool
    folder: str


@dataclass(frozen=True)
class RecordingStatus:
    """Where a recording stands.

    Attributes
    ----------
    recording : str
        Its key.
    assets : dict
        By asset, whether it was materialized.
    units : int or None
        Units of the current sorting.
    unsortable : str or None
        Why there was nothing to sort.
    degraded : bool
        Whether the current sorting ran with less than was configured.
    failure : Failure or None
        What went wrong since.
    last_run, last_run_status : str or None
        The newest run of this partition.
    """

    recording: str
    assets: dict[str, bool]
    units: int | None
    unsortable: str | None
    degraded: bool
    failure: Failure | None
    last_run: str | None
    last_run_status: str | None

    @property
    def outcome(self) -> str:
        """In words: "8 units (degraded)", "unsortable: silent", "failed: DiskFullError in copying"."""
        words = []
        if self.unsortable is not None:
            words.append(f"unsortable: {self.unsortable}")
        elif self.units is not None:
            words.append(f"{self.units} unit{'' if self.units == 1 else 's'}{' (degraded)' if self.degraded else ''}")
        if self.failure is not None:
            what = "" if self.failure.asset == "sorting" else f"{self.failure.asset} "
            where = f" in {self.failure.stage}" if self.failure.stage else ""
            again = " (trying again)" if self._is_tried_again(self.failure) else ""
            words.append(f"{what}failed: {self.failure.failure_class}{where}{again}")
        return ", then ".join(words)

    def _is_tried_again(self, failure: Failure) -> bool:
        return failure.retried and failure.run_id == self.last_run and self.last_run_status not in _ENDED


def recording_statuses(instance: dg.DagsterInstance, store: Store) -> list[RecordingStatus]:
    """The status of every registered recording, in the order of their keys."""
    done = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in PIPELINE}
    last_runs: dict[str, dg.DagsterRun] = {}
    for run in instance.get_runs(limit=_RUNS_LOOKED_AT):
        last_runs.setdefault(run.tags.get(_PARTITION_TAG, ""), run)
    statuses = []
    for key in sorted(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS)):
        last = last_runs.get(key)
        sorting = _current(store, key, "sorting")
        details: dict[str, Any] = {} if sorting is None else sorting.details
        statuses.append(
            RecordingStatus(
                recording=key,
                assets={asset: key in done[asset] for asset in PIPELINE},
                units=details.get("num_units"),
                unsortable=details.get("unsortable"),
                degraded=bool(details.get("degraded")),
                failure=_newest_failure(store, key),
                last_run=last.run_id if last else None,
                last_run_status=last.status.value if last else None,
            )
        )
    return statuses


def _newest_failure(store: Store, recording: str) -> Failure | None:
    newest = [attempts[-1] for asset in PIPELINE if (attempts := failed_attempts(store, recording, asset))]
    standing = [attempt for attempt in newest if not _made_good(store, attempt)]
    if not standing:
        return None
    last = max(standing, key=lambda attempt: attempt.time)
    error = last.error
    return Failure(
        asset=last.asset,
        failure_class=type(error).__name__,
        message=error.message,
        remedy=error.remedy,
        stage=error.stage,
        time=last.time.isoformat(timespec="seconds"),
        run_id=last.run_id,
        attempt=last.attempt,
        retried=last.retried,
        folder=str(failure_folder(store, recording, last.asset, last.version)),
    )


def _made_good(store: Store, failed: FailedAttempt) -> bool:
    """Whether a success followed: of the same run, which ends with its success, or begun later."""
    current = _current(store, failed.recording, failed.asset)
    return current is not None and (current.run_id == failed.run_id or current.version > failed.version)


def _current(store: Store, recording: str, asset: str) -> Manifest | None:
    try:
        return store.artefact(recording, asset).manifest
    except StoreError:
        return None
