"""From a path to partitions: what `sort-assets register` and the sensor `new_recordings` do with a recording."""

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import RecordingSettings, find_sidecar
from sort_assets.config.settings import Roots
from sort_assets.errors import MissingRecordingError, OutsideRecordingsRootError, RecordingError, SortAssetsError
from sort_assets.platform.arrivals.candidates import stamp_of
from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.observations import (
    RAW,
    Observed,
    raw_observed,
    report,
    report_missing,
    settings_observed,
)
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.atomic import write_atomically
from sort_assets.platform.store.locks import exclusive_lock
from sort_assets.platform.store.store import Store
from sort_assets.recordings.formats.table import find_format, folder_entries
from sort_assets.recordings.headers import RecordingHeader, read_header
from sort_assets.recordings.key import RecordingKey

_LOCK = "registering.lock"
_ID = "sort_assets_id"


@dataclass(frozen=True)
class Registered:
    """What registering a recording did.

    Attributes
    ----------
    key : str
        The partition.
    new : bool
        Whether the partition was not there before.
    """

    key: str
    new: bool


def find_recordings(folder: Path) -> list[Path]:
    """Every recording directly inside a folder, in natural order.

    Damaged ones are among them, so that `register_recording` can say of each what is wrong with it.

    Raises
    ------
    MissingRecordingError
        When nothing is there.
    RecordingError
        When it is no folder.
    """
    if not folder.exists():
        raise MissingRecordingError(
            f"'{folder}' does not exist.", remedy="Check the path, and that the disk or share is mounted."
        )
    if not folder.is_dir():
        raise RecordingError(
            f"'{folder}' is no folder, so there is nothing inside it.",
            remedy="Leave --each out to register the file itself, or name the folder that it is in.",
        )
    return [entry for entry in folder_entries(folder) if _is_recording(entry)]


def register_recording(instance: dg.DagsterInstance, path: Path, roots: Roots) -> list[Registered]:
    """Make a recording a partition for each of its streams, at once, and report what was seen of it.

    What a person registers is no longer forgotten, and its sort is left to the person.

    Parameters
    ----------
    instance : DagsterInstance
    path : Path
        A file, a recording folder, or a folder of files to concatenate; below the recordings root.
    roots : Roots

    Raises
    ------
    RecordingError
        When the path is outside the root, or is no recording that can be opened.
    ConfigError
        When the settings that rules and sidecar make for it are not valid.
    """
    if path.resolve() == roots.recordings.resolve():
        raise OutsideRecordingsRootError(
            f"'{path}' is the recordings root itself.",
            remedy="Name recordings below it, or add --each to register every recording directly inside.",
        )
    relative = RecordingKey.from_path(path, roots.recordings).path
    located = roots.recordings / relative
    rules = RecordingRules(roots)
    if rules.problem is not None and not rules.in_force:
        raise rules.problem
    rules.keep()
    settings = rules.settings_of(relative, find_sidecar(located, roots.recordings))
    config = settings.resolve(DEFAULT_PRESET).config.recording
    # Of what is read now: a file that still grows is going to differ.
    stamp = stamp_of(located) if located.exists() else ""
    header = read_header(located, config, streams=settings.streams)
    known = RecordingCatalog(roots.store)
    with known.exclusive():
        known.bind_to_instance(instance_id(instance))
        before = known.get(relative) or CatalogEntry(relative, State.WAITING)
        known.put_partitions(*(replace(one, forgotten=False) for one in known.partitions([relative])))
        seen = replace(before, state=State.REGISTERED, stamp=stamp, missing_since=None, since=time.time())
        return Registration(instance, roots, known).settle(seen, settings, header, start=False)


@dataclass(frozen=True)
class Registration:
    """Makes recordings partitions.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    known : RecordingCatalog
        The caller is `exclusive` with it.
    clock : callable
        The time of day in seconds since 1970.
    """

    instance: dg.DagsterInstance
    roots: Roots
    known: RecordingCatalog
    clock: Callable[[], float] = time.time

    def settle(
        self, seen: CatalogEntry, settings: RecordingSettings, header: RecordingHeader, *, start: bool
    ) -> list[Registered]:
        """Add the partitions that are missing, report what is new about each, and remember all of it.

        Streams that a person forgot are left out.

        Repeating it, after a crash for example, does no harm.

        Parameters
        ----------
        seen : CatalogEntry
            What was known of the recording, with the stamp that it has now.
        settings : RecordingSettings
        header : RecordingHeader
        start : bool
            Whether runs are wanted for what was never sorted.

        Raises
        ------
        RecordingKeyError
            When a path can't become a key.
        ConfigError
            When the settings are not valid.
        """
        path = self.roots.recordings / seen.path
        remembered = {partition.key: partition for partition in self.known.partitions([seen.path])}
        forgotten = {partition.key for partition in remembered.values() if partition.forgotten}
        named = [(RecordingKey(seen.path, stream.name), stream) for stream in header.streams]
        streams = [(key, stream) for key, stream in named if str(key) not in forgotten]
        keys = [key for key, _ in streams]
        before = [remembered.get(str(key), CatalogPartition(str(key), seen.path)) for key in keys]
        reports = [
            {RAW: raw_observed(path, header, stream)} | settings_observed(key, path, settings)
            for key, stream in streams
        ]
        new = _add_partitions(self.instance, [str(key) for key in keys])
        partitions, registered = [], []
        for partition, reported in zip(before, reports, strict=True):
            key = partition.key
            self._report(key, path, reported, partition)
            news = key not in remembered or seen.fingerprint != header.fingerprint
            if not settings.sort and partition.run_assets is None:
                partition = replace(partition, run_key=None)  # the rule came in time
            elif start and settings.sort and news and self._never_sorted(key, partition, arrived=key not in remembered):
                partition = replace(partition, run_key=f"{key}:{header.fingerprint}", run_assets=None, requested=None)
            versions = {asset: observed.version for asset, observed in reported.items()}
            partitions.append(replace(partition, versions=versions))
            registered.append(Registered(key, key in new))
        self.known.put_partitions(*partitions)
        present = {str(key) for key, _ in named}
        self._let_streams_go(path, (one for key, one in remembered.items() if key not in present and not one.forgotten))
        now = self.clock()
        changed = seen.fingerprint is not None and seen.fingerprint != header.fingerprint
        self.known.put(
            replace(
                seen,
                state=State.REGISTERED if keys else State.FORGOTTEN,
                read_stamp=seen.stamp,
                checked_at=now,
                fingerprint=header.fingerprint,
                problem=None,
                changed_at=now if changed else seen.changed_at,
            )
        )
        return registered

    def _report(self, key: str, path: Path, reported: dict[str, Observed], partition: CatalogPartition) -> None:
        differing = {
            asset: observed for asset, observed in reported.items() if partition.versions.get(asset) != observed.version
        }
        what = f"Seen at {path}." if RAW not in partition.versions else f"Changed since it was last seen at {path}."
        report(self.instance, key, differing, what)

    def _let_streams_go(self, path: Path, partitions: Iterable[CatalogPartition]) -> None:
        """Report what a recording no longer holds, a well or a probe: its partition and results stay."""
        for partition in partitions:
            if RAW in partition.versions:
                report_missing(self.instance, partition.key, path, partition.versions[RAW])
            self.known.put_partitions(replace(partition, versions={}, run_key=None, run_assets=None, requested=None))

    def _never_sorted(self, key: str, partition: CatalogPartition, *, arrived: bool) -> bool:
        """Whether a first result is still to come; of one that arrives, whether nobody has worked on it at all."""
        store = Store(self.roots.store)
        if arrived:
            return not (store.root / key).exists()
        if partition.requested is not None or store.versions(key, "sorting"):
            return False
        unfinished = dg.RunsFilter(tags={"dagster/partition": key}, statuses=[*UNFINISHED])
        return not self.instance.get_runs(unfinished, limit=1)


def instance_id(instance: dg.DagsterInstance) -> str:
    """Tells an instance from another one in the same place, after somebody has removed its home and begun anew."""
    file = Path(instance.root_directory) / _ID
    if not file.exists():
        write_atomically(file, uuid.uuid4().hex)
    return file.read_text(encoding="utf-8")


def remember_problem(
    known: RecordingCatalog, seen: CatalogEntry, problem: SortAssetsError, *, was_read: bool, now: float
) -> bool:
    """Keep why a recording can't be registered; returns whether that is news.

    Parameters
    ----------
    was_read : bool
        Whether its content is the problem, so that reading it again as it is does not help.
    now : float
        Seconds since 1970.
    """
    news = seen.problem is None or seen.problem.to_dict() != problem.to_dict()
    known.put(
        replace(
            seen,
            state=seen.state if seen.state is State.REGISTERED else State.PROBLEM,
            read_stamp=seen.stamp if was_read else seen.read_stamp,
            checked_at=now,
            problem=problem,
        )
    )
    return news


def _add_partitions(instance: dg.DagsterInstance, keys: list[str]) -> set[str]:
    """Add the keys that are not there; returns those."""
    # Dagster looks first and inserts then: two processes that add the same key at once, and one of them fails.
    with exclusive_lock(Path(instance.root_directory) / _LOCK, wait=True):
        new = {key for key in keys if not instance.has_dynamic_partition(RECORDINGS_PARTITIONS, key)}
        if new:
            instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, sorted(new))
        return new


def _is_recording(path: Path) -> bool:
    try:
        return find_format(path) is not None
    except RecordingError:
        return True
