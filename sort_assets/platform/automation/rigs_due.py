"""Which rigs are to be measured again, and in which of their recordings."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.automation.stale_results.requests import obstacle
from sort_assets.platform.pipeline.accuracy_history import measurements_on_rig
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.jobs import UNFINISHED, measure_accuracy
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.pipeline.rig_history import Rig, first_folder, newest_sorted
from sort_assets.platform.store.failures import failed_attempts
from sort_assets.platform.store.handles import UNGROUPED, StoredMetrics
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_hybrid import StoredAccuracy, StoredHybrid

_LOOKED_AT = 50
"""The largest number of recordings of a folder among which its rigs are found, most recently sorted first."""
_EARLY = timedelta(hours=12)
"""How much earlier than after so many days a rig is measured: the schedule looks once a day, a sort takes a while."""


def rigs_due(instance: dg.DagsterInstance, roots: Roots, now: datetime) -> list[str]:
    """The recordings to measure: of each rig that is due, the one that was sorted last among those that can be.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    now : datetime
        With its time zone.

    Raises
    ------
    StorageError
        When the recording catalogue can't be read.
    """
    store = Store(roots.store)
    with_sorts: dict[str, list[str]] = {}
    for key in _known_recordings(roots):
        with_sorts.setdefault(first_folder(key), []).append(key)
    rules = RecordingRules(roots)
    busy = _being_measured(instance)
    due = []
    for keys in with_sorts.values():
        found: dict[Rig, tuple[str, float]] = {}
        for key in newest_sorted(store, keys)[:_LOOKED_AT]:
            days = _every_days(rules, key)
            rig = None if days is None else _rig_to_measure(roots, key)
            if rig is not None and days is not None:
                found.setdefault(rig, (key, days))
        for rig, (key, days) in found.items():
            last = max(_measured_at(store, rig, key), default=None)
            if key not in busy and (last is None or now - last >= timedelta(days=days) - _EARLY):
                due.append(key)
    return due


def _known_recordings(roots: Roots) -> Iterator[str]:
    """Partitions of recordings that can be opened: on disk, and about to be nothing else."""
    catalog = RecordingCatalog(roots.store)
    entries = catalog.all()
    for one in catalog.partitions():
        if not one.forgotten and obstacle(one, entries.get(one.path)) is None:
            yield one.key


def _being_measured(instance: dg.DagsterInstance) -> set[str]:
    runs = instance.get_runs(dg.RunsFilter(job_name=measure_accuracy.name, statuses=[*UNFINISHED]))
    return {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}


def _every_days(rules: RecordingRules, key: str) -> float | None:
    try:
        resolved = RecordingConfigResolver().resolve(key, rules.settings(key))
    except SortAssetsError:  # its own runs say so
        return None
    return resolved.config.hybrid.every_days


def _rig_to_measure(roots: Roots, key: str) -> Rig | None:
    """The rig of a recording; None for one into which nothing can be injected."""
    metrics = StoredMetrics(roots, key)
    try:
        sorting = metrics.waveforms.sorting
        details = sorting.details
        whole = set(details.effective_params) <= {UNGROUPED} and set(sorting.binary_dat.dat_paths) <= {UNGROUPED}
        if not details.num_units or not whole:
            return None
        return Rig(first_folder(key), metrics.details.channels, str(sorting.manifest.config["sorter"]["name"]))
    except (SortAssetsError, KeyError):  # not there yet, or removed: it can't be measured now
        return None


def _measured_at(store: Store, rig: Rig, key: str) -> Iterable[datetime]:
    """When recordings of the rig were measured, and when that of this one was tried and failed."""
    yield from (one.made for one in measurements_on_rig(store, rig))
    for asset in (StoredHybrid.asset, StoredAccuracy.asset):
        yield from (attempt.time for attempt in failed_attempts(store, key, asset))
