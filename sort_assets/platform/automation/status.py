"""Recordings times assets: what is done, what came out, what failed, and how the last run ended."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from sort_assets.errors import RecordingKeyError
from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, Problem, State
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.partitions import PARTITION_TAG, RECORDINGS_PARTITIONS
from sort_assets.platform.store.failures import FAILED, FailedAttempt, failed_attempts, failure_folder, was_made_good
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.unit_handles import StoredCuration
from sort_assets.recordings.key import RecordingKey

_RUNS_LOOKED_AT = 20_000
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
class UnregisteredStatus:
    """Something below the recordings root that may be a recording, and is no partition.

    Attributes
    ----------
    recording : None
        It has no key.
    path : str
        Relative to the recordings root.
    state : str
        "waiting", "problem", "ignored" or "forgotten".
    since : str or None
        When it was last seen to change, in UTC, as ISO 8601.
    problem : Problem or None
    """

    recording: None
    path: str
    state: str
    since: str | None
    problem: Problem | None


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
    kept : int or None
        Those that curation kept.
    curated_by : str or None
        The person who decided on them, where one did.
    unsortable : str or None
        Why there was nothing to sort.
    degraded : bool
        Whether the current sorting ran with less than was configured.
    failure : Failure or None
        What went wrong since.
    last_run, last_run_status : str or None
        The newest run of this partition.
    path : str or None
        Relative to the recordings root; None when the key can't be a recording's.
    state : str
        "registered".
    run_wanted : bool
        Whether the sensor is going to start a run.
    changed : bool
        Whether the recording is not, any more, what its results were made from.
    vanished : str or None
        Since when the recording is gone, in UTC, as ISO 8601.
    problem : Problem or None
        What is wrong with the recording since it was registered.
    """

    recording: str
    assets: dict[str, bool]
    units: int | None
    kept: int | None
    curated_by: str | None
    unsortable: str | None
    degraded: bool
    failure: Failure | None
    last_run: str | None
    last_run_status: str | None
    path: str | None
    state: str
    run_wanted: bool
    changed: bool
    vanished: str | None
    problem: Problem | None

    @property
    def outcome(self) -> str:
        """In words: "8 units, 6 kept (degraded)", "unsortable: silent", "failed: DiskFullError in copying"."""
        words = []
        if self.unsortable is not None:
            words.append(f"unsortable: {self.unsortable}")
        elif self.units is not None:
            curated = "" if self.kept is None else f", {self.kept} kept"
            by = f" by {self.curated_by}" if self.curated_by else ""
            degraded = " (degraded)" if self.degraded else ""
            words.append(f"{self.units} unit{'' if self.units == 1 else 's'}{curated}{by}{degraded}")
        if self.failure is not None:
            what = "" if self.failure.asset == "sorting" else f"{self.failure.asset} "
            where = f" in {self.failure.stage}" if self.failure.stage else ""
            again = " (trying again)" if self._is_tried_again(self.failure) else ""
            words.append(f"{what}failed: {self.failure.failure_class}{where}{again}")
        said = ", then ".join(words)
        since = [
            *(["changed since"] if self.changed else []),
            *(["recording gone"] if self.vanished else []),
            *([f"recording: {self.problem.failure_class}"] if self.problem else []),
        ]
        return "; ".join(filter(None, [said, *since]))

    def _is_tried_again(self, failure: Failure) -> bool:
        return failure.retried and failure.run_id == self.last_run and self.last_run_status not in _ENDED


def recording_statuses(instance: dg.DagsterInstance, store: Store) -> list[RecordingStatus]:
    """The status of every registered recording, in the order of their keys."""
    known = RecordingCatalog(store.root, read_only=True)
    rows, partitions = known.all(), {partition.key: partition for partition in known.partitions()}
    done = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in PIPELINE}
    last_runs: dict[str, dg.DagsterRun] = {}
    for run in instance.get_runs(limit=_RUNS_LOOKED_AT):
        last_runs.setdefault(run.tags.get(PARTITION_TAG, ""), run)
    statuses = []
    for key in sorted(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS)):
        last, partition = last_runs.get(key), partitions.get(key)
        path = _path(key) if partition is None else partition.path
        row = None if path is None else rows.get(path)
        sorting = store.summary(key, "sorting") or {}
        details: dict[str, Any] = sorting.get("details", {})
        curated = curation_of(store, key, sorting)
        statuses.append(
            RecordingStatus(
                recording=key,
                assets={asset: key in done[asset] for asset in PIPELINE},
                units=details.get("num_units"),
                kept=curated.get("num_kept"),
                curated_by=curated.get("person"),
                unsortable=details.get("unsortable"),
                degraded=bool(details.get("degraded")),
                failure=_newest_failure(store, key),
                last_run=last.run_id if last else None,
                last_run_status=last.status.value if last else None,
                path=path,
                state=State.REGISTERED.value,
                run_wanted=partition is not None and partition.run_key is not None and partition.requested is None,
                changed=_has_changed(store, key, row),
                vanished=_time(row.missing_since) if row else None,
                problem=_problem(row),
            )
        )
    return statuses


def curation_of(store: Store, key: str, sorting: Mapping[str, Any]) -> Mapping[str, Any]:
    """The details of a recording's curation; empty when there is none that is newer than a sorting's manifest."""
    curated = store.summary(key, StoredCuration.asset)
    if curated is None or curated["version"] < sorting.get("version", ""):
        return {}
    details: Mapping[str, Any] = curated["details"]
    return details


def unregistered(store: Store) -> list[UnregisteredStatus]:
    """What else is known to lie below the recordings root, by path; files that are no recordings are left out."""
    return [
        UnregisteredStatus(None, row.path, row.state.value, _time(row.since), _problem(row))
        for path, row in sorted(RecordingCatalog(store.root, read_only=True).all().items())
        if row.state not in (State.REGISTERED, State.FOREIGN)
    ]


def _path(key: str) -> str | None:
    try:
        return RecordingKey.parse(key).path
    except RecordingKeyError:
        return None


def _has_changed(store: Store, key: str, row: CatalogEntry | None) -> bool:
    """Whether the recording is not what its current results were made from."""
    if row is None or row.fingerprint is None:
        return False
    made_from = (store.summary(key, "preprocessed_recording") or {}).get("details", {}).get("fingerprint")
    return made_from not in (None, row.fingerprint)


def _problem(row: CatalogEntry | None) -> Problem | None:
    if row is None or row.problem is None:
        return None
    return Problem(type(row.problem).__name__, row.problem.message, row.problem.remedy)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _newest_failure(store: Store, recording: str) -> Failure | None:
    newest = [attempts[-1] for asset in PIPELINE if (attempts := _failed_attempts(store, recording, asset))]
    standing = [attempt for attempt in newest if not was_made_good(store, attempt)]
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


def _failed_attempts(store: Store, recording: str, asset: str) -> list[FailedAttempt]:
    # Of thousands of recordings few have failed.
    there = os.path.isdir(f"{store.root}/{recording}/{asset}/{FAILED}")  # noqa: PTH112 - a Path takes several times as long
    return failed_attempts(store, recording, asset) if there else []
