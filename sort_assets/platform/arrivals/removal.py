"""Forgetting recordings, and purging their results."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import RecordingBusyError, StorageError, StoreError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.resolver import RecordingMatch
from sort_assets.platform.execution.remote_steps import run_is_over_in
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import PARTITION_TAG, RECORDINGS_PARTITIONS
from sort_assets.platform.store.files import num_bytes
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import STREAM_MARK


@dataclass(frozen=True)
class RemovalResult:
    """What was forgotten for one name.

    Attributes
    ----------
    path : str or None
        The recording, relative to the recordings root.
    keys : tuple of str
        Partitions that were removed.
    ignored : bool
        Whether the whole recording is ignored from now on.
    """

    path: str | None
    keys: tuple[str, ...]
    ignored: bool


@dataclass(frozen=True)
class Results:
    """What the store holds for one key.

    Attributes
    ----------
    key : str
    assets : tuple of str
    bytes : int
    """

    key: str
    assets: tuple[str, ...]
    bytes: int


class RecordingRemover:
    """Removes partitions and their results.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    """

    def __init__(self, instance: dg.DagsterInstance, roots: Roots) -> None:
        self._instance, self._store = instance, Store(roots.store, run_is_over_in(instance))
        self._catalog = RecordingCatalog(roots.store)

    def forget(self, named: RecordingMatch) -> RemovalResult:
        """Remove partitions, and ignore the recording, or these streams of it, from now on. Results stay.

        Raises
        ------
        RecordingBusyError
            When a run is queued or at work.
        """
        with self._catalog.exclusive():
            self.refuse_in_use(named.keys)
            present = set(self._instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
            # The catalogue first: after a crash in between, the sensor does not register it again.
            ignored = named.path is not None and self._remember(named.path, named, present)
            removed = [key for key in named.keys if key in present]
            for key in removed:
                self._instance.delete_dynamic_partition(RECORDINGS_PARTITIONS, key)
        return RemovalResult(named.path, tuple(removed), ignored)

    def results(self, named: RecordingMatch) -> list[Results]:
        """What `purge` would remove."""
        return [
            Results(key, tuple(self._store.assets(key)), num_bytes([self._store.root / key]))
            for key in named.keys
            if self._is_stored(key)
        ]

    def purge(self, named: RecordingMatch) -> tuple[RemovalResult, list[Results]]:
        """Forget recordings and delete all their results; the raw data stays.

        Raises
        ------
        RecordingBusyError
            When a run is queued or at work.
        StoreError
            When a folder of the store is a link to another place.
        StorageError
            When the operating system does not permit the deletion.
        """
        results = self.results(named)
        for one in results:
            self._refuse_link(self._store.root / one.key)
        forgotten = self.forget(named)
        for one in results:
            # Without the partition no new run starts; one that started just before is found here.
            self.refuse_in_use([one.key])
            try:
                shutil.rmtree(self._store.root / one.key)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(
                    f"'{error.filename}' can't be removed: {error.strerror}.",
                    remedy="Give the user that runs sort_assets the right to do so, then purge again.",
                ) from error
        return forgotten, results

    def refuse_in_use(self, keys: Iterable[str]) -> None:
        """Refuse keys that a run or a person works on.

        Raises
        ------
        RecordingBusyError
        """
        for key in keys:
            runs = self._instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: key}, statuses=[*UNFINISHED]), limit=1)
            if runs:
                raise RecordingBusyError(
                    f"Run {runs[0].run_id} of '{key}' is {runs[0].status.value.lower()}.",
                    remedy="Wait until it has ended, or terminate it in the UI; then try again. A run whose process "
                    "died with the machine is ended by `sort-assets init`.",
                    run_id=runs[0].run_id,
                )
            if self._is_stored(key) and self._store.in_use(key):
                raise RecordingBusyError(
                    f"Somebody writes or sorts '{key}' at this moment.", remedy="Wait until that has ended."
                )

    def _remember(self, path: str, named: RecordingMatch, present: set[str]) -> bool:
        """Write to the catalogue what is forgotten; returns whether that is the whole recording."""
        remembered = {partition.key: partition for partition in self._catalog.partitions([path])}
        for key in named.keys:
            partition = remembered.get(key, CatalogPartition(key, path))
            remembered[key] = replace(partition, forgotten=True, run_key=None, run_assets=None, requested=None)
        self._catalog.put_partitions(*remembered.values())
        whole = named.whole
        if not whole:
            recording = named.keys[0].partition(STREAM_MARK)[0]
            others = {key for key in present - {*named.keys} if key.partition(STREAM_MARK)[0] == recording}
            whole = not others and all(one.forgotten for one in remembered.values())
        if whole:
            entry = self._catalog.get(path) or CatalogEntry(path, State.FORGOTTEN, since=time.time())
            self._catalog.put(replace(entry, state=State.FORGOTTEN))
        return whole

    def _is_stored(self, key: str) -> bool:
        """Whether the store has a folder for this key; a key invented in the UI may lead out of the store."""
        return "/" not in key and not key.startswith(("@", ".")) and (self._store.root / key).is_dir()

    def _refuse_link(self, folder: Path) -> None:
        if folder.is_symlink():
            raise StoreError(
                f"'{folder}' is a symbolic link, and its target is not deleted.",
                remedy="Remove the link by hand, and its target if nobody needs it.",
            )
