"""How each recording stands: what the store, the recording catalogue and Dagster say of it, in one model.

`sort-assets status`, the digest and `sort-assets retry-failed` read it.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import dagster as dg

from sort_assets.errors import RecordingKeyError, SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, Problem, State
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.automation.failed_runs import RunFailure, failures_of_run, first_failure
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_forecast import queued_estimates
from sort_assets.platform.pipeline.recording_results import SORTING, RecordingSummary
from sort_assets.platform.pipeline.summary_cache import recording_summaries
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import STREAM_MARK, RecordingKey

_ALL_RUNS = dg.RunsFilter()


@dataclass(frozen=True)
class LastRun:
    """The newest run of a recording.

    Attributes
    ----------
    run_id : str
    status : dg.DagsterRunStatus
    """

    run_id: str
    status: dg.DagsterRunStatus


@dataclass(frozen=True, kw_only=True)
class RecordingStatus:
    """How a registered recording stands.

    Attributes
    ----------
    recording : str
        Its key.
    results : RecordingSummary
        What the store says.
    entry : CatalogEntry or None
        What the recording catalogue says of its file or folder.
    partition : CatalogPartition or None
        What the recording catalogue says of its partition.
    assets : Mapping[str, bool]
        What Dagster says: by asset, whether it was materialized.
    last_run : LastRun or None
        Its newest run.
    run_failure : RunFailure or None
        Why its newest run failed, where the store has no record of it.
    estimate : str or None
        How long its run takes that waits in the queue, where this lab's history tells.
    """

    recording: str
    results: RecordingSummary
    entry: CatalogEntry | None
    partition: CatalogPartition | None
    assets: Mapping[str, bool]
    last_run: LastRun | None
    run_failure: RunFailure | None = None
    estimate: str | None = None

    @property
    def path(self) -> str | None:
        """Its path relative to the recordings root; None when the key can't be a recording's."""
        if self.partition is not None:
            return self.partition.path
        return _path(self.recording)

    @property
    def run_wanted(self) -> bool:
        """Whether the sensor `new_recordings` is going to request a run."""
        return self.partition is not None and self.partition.run_key is not None and self.partition.requested is None

    @property
    def has_changed(self) -> bool:
        """Whether the recording differs from what its results were made from."""
        if self.entry is None or self.entry.fingerprint is None:
            return False
        return self.results.fingerprint not in (None, self.entry.fingerprint)

    @property
    def missing_since(self) -> str | None:
        """The time since when the recording is gone, in UTC, as ISO 8601."""
        return _iso(self.entry.missing_since) if self.entry else None

    @property
    def problem(self) -> SortAssetsError | None:
        """What has been wrong with the recording since it was registered."""
        if self.entry is None or not self.entry.problems:
            return None
        return self.entry.problem_of(_stream(self.recording))

    @property
    def clock(self) -> str | None:
        """What is wrong with the recording's clock, as far as its check does not say so."""
        is_checked = any(check.name == "clock" for check in self.results.checks_not_passed)
        return None if self.partition is None or is_checked else self.partition.clock

    @property
    def is_running(self) -> bool:
        """Whether its newest run waits or runs."""
        return self.last_run is not None and self.last_run.status in UNFINISHED

    @property
    def last_run_failed(self) -> bool:
        """Whether its newest run failed."""
        return self.last_run is not None and self.last_run.status == dg.DagsterRunStatus.FAILURE

    @property
    def outcome(self) -> str:
        """A phrase like "8 units, 6 kept (degraded)", "unsortable: silent" or "failed: DiskFullError in copying"."""
        results = ", then ".join(filter(None, [self.results.outcome, self._failure_phrase()]))
        changes = [
            *(["changed since"] if self.has_changed else []),
            *(["recording gone"] if self.missing_since else []),
            *([f"recording: {type(self.problem).__name__}"] if self.problem else []),
            *([self.clock.rstrip(".")] if self.clock else []),
            *([f"did not pass {self.results.failed_checks}"] if self.results.failed_checks else []),
        ]
        return "; ".join(filter(None, [results, *changes]))

    def to_dict(self) -> dict[str, Any]:
        """The recording's object in `sort-assets status --json`."""
        return {
            "recording": self.recording,
            "assets": dict(self.assets),
            "units": self.results.units_found,
            "kept": self.results.units_kept,
            "curated_by": self.results.curated_by,
            "unsortable": self.results.unsortable,
            "unsortable_by_old_defaults": self.results.unsortable_by_old_defaults,
            "missed_groups": dict(self.results.missed_groups),
            "degraded": bool(self.results.degraded),
            "failed_checks": [check.to_dict() for check in self.results.checks_not_passed],
            "failure": _failure_dict(self.results),
            "last_run": self.last_run.run_id if self.last_run else None,
            "last_run_status": self.last_run.status.value if self.last_run else None,
            "estimate": self.estimate,
            "path": self.path,
            "state": State.REGISTERED.value,
            "run_wanted": self.run_wanted,
            "changed": self.has_changed,
            "vanished": self.missing_since,
            "problem": _problem_dict(self.problem),
            "clock": self.clock,
        }

    def _failure_phrase(self) -> str:
        failure = self.results.standing
        if failure is None:
            return self.run_failure.outcome if self.run_failure else ""
        asset = "" if failure.asset == SORTING else f"{failure.asset} "
        stage = f" in {failure.error.stage}" if failure.error.stage else ""
        is_retried = failure.retried and self.is_running and self.last_run and self.last_run.run_id == failure.run_id
        return f"{asset}failed: {type(failure.error).__name__}{stage}{' (trying again)' if is_retried else ''}"


@dataclass(frozen=True)
class UnregisteredStatus:
    """How a file or folder stands that may be a recording, and is no partition; or a stream that can't be registered.

    Attributes
    ----------
    entry : CatalogEntry
        What the recording catalogue says of it.
    stream : str or None
        The stream, of a recording with others that are registered.
    """

    entry: CatalogEntry
    stream: str | None = None

    @property
    def path(self) -> str:
        """Its path relative to the recordings root; of a stream, the key that it would have."""
        return self.entry.path if self.stream is None else str(RecordingKey(self.entry.path, self.stream))

    @property
    def state(self) -> State:
        """What it is at present."""
        return self.entry.state if self.stream is None else State.PROBLEM

    @property
    def problem(self) -> SortAssetsError | None:
        """Why it can't be registered."""
        return self.entry.problem_of(self.stream)

    @property
    def since(self) -> str | None:
        """When it was last seen to change, in UTC, as ISO 8601."""
        return _iso(self.entry.since)

    def to_dict(self) -> dict[str, Any]:
        """Its object in `sort-assets status --json`."""
        return {
            "recording": None,
            "path": self.path,
            "state": self.state.value,
            "since": self.since,
            "problem": _problem_dict(self.problem),
        }


def recording_statuses(instance: dg.DagsterInstance, store: Store) -> list[RecordingStatus]:
    """The status of every registered recording, in the order of their keys."""
    catalog = RecordingCatalog(store.root, read_only=True)
    entries, partitions = catalog.all(), {partition.key: partition for partition in catalog.partitions()}
    materialized = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in PIPELINE}
    # Of thousands of runs only what a status needs: Dagster would make a whole run of each.
    last_runs = {run.partition: LastRun(run.run_id, run.status) for run in instance.get_run_partition_data(_ALL_RUNS)}
    estimates = queued_estimates(instance)
    keys = sorted(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
    results = recording_summaries(store, keys)
    statuses = []
    for key in keys:
        partition = partitions.get(key)
        path, last_run = partition.path if partition else _path(key), last_runs.get(key)
        statuses.append(
            RecordingStatus(
                recording=key,
                results=results[key],
                entry=None if path is None else entries.get(path),
                partition=partition,
                assets={asset: key in materialized[asset] for asset in PIPELINE},
                last_run=last_run,
                run_failure=_run_failure(instance, last_run) if results[key].standing is None else None,
                estimate=estimates.get(key),
            )
        )
    return statuses


def _run_failure(instance: dg.DagsterInstance, last_run: LastRun | None) -> RunFailure | None:
    """Why a run failed; None when it did not, or was deleted this instant."""
    if last_run is None or last_run.status != dg.DagsterRunStatus.FAILURE:
        return None
    run = instance.get_run_by_id(last_run.run_id)
    return None if run is None else first_failure(failures_of_run(instance, run))


def unregistered_statuses(store: Store) -> list[UnregisteredStatus]:
    """What else the catalogue has below the recordings root, by path; files that are no recordings are left out."""
    catalog = RecordingCatalog(store.root, read_only=True)
    streams = [
        UnregisteredStatus(entry, stream)
        for entry in catalog.with_problems()
        for stream in entry.stream_problems
        if not any(one.key == str(RecordingKey(entry.path, stream)) for one in catalog.partitions([entry.path]))
    ]
    return sorted([*map(UnregisteredStatus, catalog.unregistered()), *streams], key=lambda one: one.path)


@dataclass(frozen=True)
class Filters:
    """Which recordings to show; without any filter all are shown, with several those that fit any of them.

    Attributes
    ----------
    failed, unsortable, degraded, waiting, problems, changed, checks : bool
    """

    failed: bool = False
    unsortable: bool = False
    degraded: bool = False
    waiting: bool = False
    problems: bool = False
    changed: bool = False
    checks: bool = False

    @property
    def any(self) -> bool:
        """Whether there is a filter."""
        return any(astuple(self))

    def fit(self, one: RecordingStatus | UnregisteredStatus) -> bool:
        """Whether a recording is to be shown."""
        if not self.any:
            return True
        if isinstance(one, UnregisteredStatus):
            # What is ignored or forgotten may have a problem that concerns nobody.
            state = one.state
            return (self.waiting and state is State.WAITING) or (self.problems and state is State.PROBLEM)
        fits = (
            self.failed and (one.results.failure is not None or one.last_run_failed),
            self.unsortable and one.results.unsortable is not None,
            self.degraded and bool(one.results.degraded),
            self.waiting and one.run_wanted,
            self.problems and (one.problem is not None or one.missing_since is not None),
            self.changed and one.has_changed,
            self.checks and one.results.failed_checks is not None,
        )
        return any(fits)


@dataclass(frozen=True)
class Selection:
    """Chosen recordings.

    Attributes
    ----------
    recordings : list of RecordingStatus
    others : list of UnregisteredStatus
    unmatched : dict
        By each name that matches nothing, the nearest names.
    """

    recordings: list[RecordingStatus]
    others: list[UnregisteredStatus]
    unmatched: dict[str, list[str]]


def select(
    recordings: Sequence[RecordingStatus],
    others: Sequence[UnregisteredStatus],
    names: Iterable[str] = (),
    filters: Filters = Filters(),
) -> Selection:
    """Choose recordings by names and filters.

    Parameters
    ----------
    recordings, others : sequence
    names : iterable of str
        Keys, or paths relative to the recordings root, with wildcards as in a shell; a key without its stream names all
        streams. None chooses all.
    filters : Filters
    """
    names = list(names)
    everything: list[RecordingStatus | UnregisteredStatus] = [*recordings, *others]
    found = {name: [one for one in everything if matches(_names(one))] for name, matches in map(_matcher, names)}
    chosen = {id(one) for some in found.values() for one in some}
    known = sorted({text for one in everything for text in _names(one)})
    return Selection(
        [one for one in recordings if (not names or id(one) in chosen) and filters.fit(one)],
        [one for one in others if (not names or id(one) in chosen) and filters.fit(one)],
        {name: difflib.get_close_matches(name, known, n=3) for name, some in found.items() if not some},
    )


def _names(one: RecordingStatus | UnregisteredStatus) -> set[str]:
    key = one.recording if isinstance(one, RecordingStatus) else ""
    return {key, key.partition(STREAM_MARK)[0], one.path or ""} - {""}


def _matcher(name: str) -> tuple[str, Callable[[set[str]], bool]]:
    def matches(texts: set[str]) -> bool:
        # File names may hold brackets, so the plain name is tried first.
        return name in texts or any(fnmatchcase(text, name) for text in texts)

    return name, matches


def _failure_dict(results: RecordingSummary) -> dict[str, Any] | None:
    failure = results.standing
    if failure is None:
        return None
    error = failure.error
    return {
        "asset": failure.asset,
        "failure_class": type(error).__name__,
        "message": error.message,
        "remedy": error.remedy,
        "stage": error.stage,
        "time": failure.time.isoformat(timespec="seconds"),
        "run_id": failure.run_id,
        "attempt": failure.attempt,
        "retried": failure.retried,
        "folder": str(results.failure_folder),
    }


def _problem_dict(error: SortAssetsError | None) -> dict[str, Any] | None:
    return None if error is None else asdict(Problem.from_error(error))


def _stream(key: str) -> str | None:
    try:
        return RecordingKey.parse(key).stream
    except RecordingKeyError:
        return None


def _path(key: str) -> str | None:
    try:
        return RecordingKey.parse(key).path
    except RecordingKeyError:
        return None


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
