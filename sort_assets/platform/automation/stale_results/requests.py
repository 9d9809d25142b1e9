"""The runs to request for stale results: only those that can help, and none that a person has reason to avoid."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.automation.stale_results.staleness import StalenessReader, StaleRecording
from sort_assets.platform.pipeline.catalog import PIPELINE, pipeline_asset
from sort_assets.platform.pipeline.jobs import PRIORITY_TAG, STALE_PRIORITY, UNFINISHED
from sort_assets.platform.pipeline.partitions import PARTITION_TAG, RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_results import recording_summary
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.failures import failed_attempts
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey

_RUN_KEY_TAG = "dagster/run_key"
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_SORTING = "sorting"


@dataclass(frozen=True)
class RefreshLimits:
    """How much a tick does at most.

    Attributes
    ----------
    read_s : float
        Seconds after which no further events of results are read.
    requests : int
        Number of runs that a tick requests.
    unfinished_runs : int
        Number of the sensor's runs that are queued or running; rules can still change what comes later.
    """

    read_s: float = 10.0
    requests: int = 10
    unfinished_runs: int = 50


@dataclass
class RefreshPlan:
    """The result of a tick.

    Attributes
    ----------
    requests : list of dg.RunRequest
    stale, unread : int
        Number of recordings with stale results, and of those that there was no time to read.
    skipped : Counter
        Number of stale recordings for which nothing is requested, by reason.
    """

    requests: list[dg.RunRequest] = field(default_factory=list)
    stale: int = 0
    unread: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def summary(self) -> Iterator[str]:
        """The result in a few phrases."""
        yield f"recordings with stale results: {self.stale}" if self.stale else "Nothing is stale"
        for reason, count in self.skipped.most_common():
            yield f"{reason}: {count}"
        if self.unread:
            yield f"{self.unread} are read in the next ticks"


class RefreshPlanner:
    """Plans which stale results are made again. It remembers what it has read; a process needs only one.

    Parameters
    ----------
    sensor : str
        Name of the sensor that requests the runs; its unfinished runs are counted.
    limits : RefreshLimits
    """

    def __init__(self, sensor: str, limits: RefreshLimits = RefreshLimits()) -> None:
        self._sensor, self._limits = sensor, limits
        self._reader = StalenessReader()
        self._reasons: dict[str, str] = {}

    def plan(self, instance: dg.DagsterInstance, roots: Roots) -> RefreshPlan:
        """Find what is stale, and plan runs of that part of the pipeline.

        Raises
        ------
        StorageError
            When the recording catalogue can't be read.
        """
        found = self._reader.read(instance, seconds=self._limits.read_s)
        plan = RefreshPlan(stale=len(found.stale), unread=found.unread)
        if not found.stale:
            return plan
        unfinished = self._unfinished_runs(instance)
        room = self._limits.unfinished_runs - sum(
            run.tags.get("dagster/sensor_name") == self._sensor for run in unfinished
        )
        busy = set(_recordings_of(instance, unfinished))
        catalog = RecordingCatalog(roots.store)
        entries, partitions = catalog.all(), {one.key: one for one in catalog.partitions()}
        for recording in found.stale:
            partition = partitions.get(recording.key)
            entry = None if partition is None or partition.forgotten else entries.get(partition.path)
            reason = "a run is queued or running" if recording.key in busy else obstacle(partition, entry)
            if reason is None and len(plan.requests) >= min(room, self._limits.requests):
                reason = "for a later tick"
            if reason is None:
                run_key = f"{recording.key}:{hash_json({'state': recording.state})}"
                reason = self._reason(instance, Store(roots.store), recording, run_key)
                if reason is None:
                    plan.requests.append(_request(Store(roots.store), recording, run_key))
            if reason is not None:
                plan.skipped[reason] += 1
        return plan

    def _unfinished_runs(self, instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
        return [*instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED]))]

    def _reason(
        self, instance: dg.DagsterInstance, store: Store, recording: StaleRecording, run_key: str
    ) -> str | None:
        """Why a run would not help; None when it may. A reason stays true for the same run key."""
        if run_key not in self._reasons:
            reason = None
            if instance.get_runs(dg.RunsFilter(tags={_RUN_KEY_TAG: run_key}), limit=1):
                reason = "requested before, without success"
            elif recording.since is not None and _failed_after(store, recording, recording.since):
                reason = "failed since it became stale"
            elif has_nothing_to_sort(store, recording):
                reason = "nothing to sort in it"
            if reason is None:
                return None
            self._reasons[run_key] = reason
        return self._reasons[run_key]


def obstacle(partition: CatalogPartition | None, entry: CatalogEntry | None) -> str | None:
    """Why no run makes the stale results of a recording again, as the recording catalogue has it; None where one may.

    Parameters
    ----------
    partition : CatalogPartition or None
    entry : CatalogEntry or None
        That of the partition's file or folder; None where a person forgot it.
    """
    if partition is None or entry is None or entry.state is not State.REGISTERED:
        return "not in the recording catalogue, ignored or forgotten"
    if partition.run_key is not None:
        return "about to be sorted by new_recordings"
    if entry.missing_since is not None:
        return "no longer on disk"
    if entry.problem_of(RecordingKey.parse(partition.key).stream) is not None:
        return "with a problem, see `sort-assets status`"
    return None


def has_nothing_to_sort(store: Store, recording: StaleRecording) -> bool:
    """Whether the sorter would read the same data again, in which there was nothing to sort."""
    return not _has_other_input(recording) and recording_summary(store, recording.key).unsortable is not None


def _request(store: Store, recording: StaleRecording, run_key: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key,
        partition_key=recording.key,
        asset_selection=[dg.AssetKey(asset) for asset in to_make_again(store, recording)],
        tags={PRIORITY_TAG: str(STALE_PRIORITY)},
    )


def to_make_again(store: Store, recording: StaleRecording) -> tuple[str, ...]:
    """What has to be made again, and whatever it is made from that the store no longer has."""
    again = set(recording.rest)
    for asset in reversed(PIPELINE):
        if asset in again:
            made_from = pipeline_asset(asset).made_from
            if made_from is not None and not _is_there(store, recording.key, made_from.asset):
                again.add(made_from.asset)
    return tuple(asset for asset in PIPELINE if asset in again)


def _is_there(store: Store, recording: str, asset: str) -> bool:
    try:
        store.artefact(recording, asset)
    except SortAssetsError:
        return False
    return True


def _failed_after(store: Store, recording: StaleRecording, since: float) -> bool:
    return any(
        attempt.time.timestamp() > since
        for asset in recording.rest
        for attempt in failed_attempts(store, recording.key, asset)
    )


def _has_other_input(recording: StaleRecording) -> bool:
    """Whether the sorter is going to read other data, and not only to run with other settings."""
    before = PIPELINE[: PIPELINE.index(_SORTING)]
    return any(asset in before for asset in recording.causes) or any(
        name in before for name in recording.causes.get(_SORTING, ())
    )


def _recordings_of(instance: dg.DagsterInstance, runs: list[dg.DagsterRun]) -> Iterator[str]:
    """The recordings of runs, including those of a range of partitions."""
    for run in runs:
        if PARTITION_TAG in run.tags:
            yield run.tags[PARTITION_TAG]
        first, last = (run.tags.get(tag) for tag in _RANGE_TAGS)
        if first is not None and last is not None:
            keys = list(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
            if first in keys and last in keys:
                yield from keys[keys.index(first) : keys.index(last) + 1]
