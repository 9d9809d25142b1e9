"""Making a recording's streams partitions, as `sort-assets register` and the sensor `new_recordings` both do."""

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import find_sidecar
from sort_assets.config.settings import Roots
from sort_assets.errors import MissingRecordingError, OutsideRecordingsRootError, RecordingError, SortAssetsError
from sort_assets.platform.arrivals.actions import Register
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.linked_files import linked_files, without_linked_streams
from sort_assets.platform.arrivals.observations import RAW, ObservedStream, observe_streams, report, report_missing
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.stamps import stamp_of
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.files import write_atomically
from sort_assets.platform.store.locks import exclusive_lock
from sort_assets.platform.store.store import Store
from sort_assets.recordings.formats.intan_parts import are_parts
from sort_assets.recordings.formats.table import find_format, folder_entries, may_be_file
from sort_assets.recordings.headers import RecordingHeader, read_header
from sort_assets.recordings.key import RecordingKey

_LOCK = "registering.lock"
_ID = "sort_assets_id"


@dataclass(frozen=True)
class Registered:
    """A partition that registering a recording led to.

    Attributes
    ----------
    key : str
        The partition.
    new : bool
        Whether the partition was not there before.
    clock : str or None
        What is wrong with the clock of its recording.
    """

    key: str
    new: bool
    clock: str | None = None


def find_recordings(folder: Path) -> list[Path]:
    """Every recording directly inside a folder, in natural order.

    Damaged ones are included, so that `register_recording` can say what is wrong with each.

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
    names = {entry.name for entry in folder.iterdir()}
    return [entry for entry in folder_entries(folder) if _is_recording(entry, names)]


def register_recording(
    instance: dg.DagsterInstance,
    path: Path,
    roots: Roots,
    on_problem: Callable[[str, SortAssetsError], object] = lambda key, problem: None,  # noqa: ARG005
    on_left_out: Callable[[str], object] = str,
) -> list[Registered]:
    """Make a partition of each stream of a recording at once, and report what was observed.

    A recording that a person registers is no longer forgotten, and no run is requested for it.

    Parameters
    ----------
    instance : DagsterInstance
    path : Path
        A file, a recording folder, or a folder of files to concatenate; below the recordings root.
    roots : Roots
    on_problem : callable
        Called with the key that a stream would have, and why it can't be registered, while others are.
    on_left_out : callable
        Called with a sentence about what is there and is not read, since something else holds the same samples.

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
    # Taken before reading, so that a file that still grows counts as changed afterwards.
    stamp = stamp_of(located) if located.exists() else ""
    whole = read_header(located, config, streams=settings.streams)
    header = without_linked_streams(whole, config, roots.recordings)
    if not header.streams and not header.problems:
        raise RecordingError(
            f"The samples of '{path}' are those of {linked_files(whole)}, to which it has a link.",
            remedy="Register that file. To sort it as this one describes it, name the series in recording.stream, in a "
            "sidecar of this file.",
        )
    catalog = RecordingCatalog(roots.store)
    with catalog.exclusive():
        catalog.bind_to_instance(instance_id(instance))
        before = catalog.get(relative) or CatalogEntry(relative, State.WAITING)
        catalog.put_partitions(*(replace(one, forgotten=False) for one in catalog.partitions([relative])))
        entry = replace(before, state=State.REGISTERED, stamp=stamp, missing_since=None, since=time.time())
        streams = observe_streams(located, relative, header, settings, forgotten=())
        register = Register(entry, settings, header, streams)
        for name, problem in header.problems.items():
            on_problem(str(RecordingKey(relative, name)), problem)
        for sentence in header.left_out:
            on_left_out(f"{relative}: {sentence}")
        return Registration(instance, roots, catalog).register_streams(register, start=False)


@dataclass(frozen=True)
class Registration:
    """Makes recordings partitions.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    catalog : RecordingCatalog
        The caller holds its lock, `RecordingCatalog.exclusive`.
    clock : callable
        The time of day in seconds since 1970.
    """

    instance: dg.DagsterInstance
    roots: Roots
    catalog: RecordingCatalog
    clock: Callable[[], float] = time.time

    def register_streams(self, register: Register, *, start: bool) -> list[Registered]:
        """Add the partitions that are missing, report what is new about each, and remember all of it.

        Repeating it, after a crash for example, does no harm.

        Parameters
        ----------
        register : Register
        start : bool
            Whether to request runs for what was never sorted.

        Raises
        ------
        RecordingKeyError
            When a path can't become a key.
        """
        entry, header, settings = register.entry, register.header, register.settings
        path = self.roots.recordings / entry.path
        before = {partition.key: partition for partition in self.catalog.partitions([entry.path])}
        new = _add_partitions(self.instance, [stream.key for stream in register.streams])
        clocks = {str(RecordingKey(entry.path, stream.name)): stream.clock for stream in header.streams}
        partitions, registered = [], []
        for stream in register.streams:
            key = stream.key
            partition = before.get(key, CatalogPartition(key, entry.path))
            self._report(stream, path, partition)
            arrived = key not in before
            is_new = arrived or entry.fingerprint != header.fingerprint
            if not settings.sort and partition.run_assets is None:
                partition = replace(partition, run_key=None)  # the rule came in time
            elif start and settings.sort and is_new and self._never_sorted(key, partition, arrived=arrived):
                partition = replace(partition, run_key=f"{key}:{header.fingerprint}", run_assets=None, requested=None)
            versions = {asset: observed.version for asset, observed in stream.observed.items()}
            partitions.append(replace(partition, versions=versions, clock=clocks.get(key)))
            registered.append(Registered(key, key in new, clocks.get(key)))
        self.catalog.put_partitions(*partitions)
        names = [stream.name for stream in header.streams]
        present = {str(RecordingKey(entry.path, name)) for name in [*names, *header.problems]}
        self._report_missing_streams(
            path, (one for key, one in before.items() if key not in present and not one.forgotten)
        )
        now = self.clock()
        changed = entry.fingerprint is not None and entry.fingerprint != header.fingerprint
        self.catalog.put(
            replace(
                entry,
                state=State.REGISTERED if register.streams else State.FORGOTTEN,
                read_stamp=entry.stamp,
                checked_at=now,
                fingerprint=header.fingerprint,
                problem=None,
                stream_problems=wanted_problems(entry.path, header, before.values()),
                changed_at=now if changed else entry.changed_at,
            )
        )
        return registered

    def _report(self, stream: ObservedStream, path: Path, partition: CatalogPartition) -> None:
        known = partition.versions
        different = {asset: seen for asset, seen in stream.observed.items() if known.get(asset) != seen.version}
        description = f"Changed since it was last seen at {path}." if RAW in known else f"Seen at {path}."
        report(self.instance, stream.key, different, description)

    def _report_missing_streams(self, path: Path, partitions: Iterable[CatalogPartition]) -> None:
        """Report the wells or probes that a recording no longer holds; their partitions and results stay."""
        for partition in partitions:
            if RAW in partition.versions:
                report_missing(self.instance, partition.key, path, partition.versions[RAW])
            self.catalog.put_partitions(replace(partition, versions={}, run_key=None, run_assets=None, requested=None))

    def _never_sorted(self, key: str, partition: CatalogPartition, *, arrived: bool) -> bool:
        """Whether it has no sorting yet; of one that arrives, whether nobody has worked on it at all."""
        store = Store(self.roots.store)
        if arrived:
            return not (store.root / key).exists()
        if partition.requested is not None or store.versions(key, "sorting"):
            return False
        unfinished = dg.RunsFilter(tags={"dagster/partition": key}, statuses=[*UNFINISHED])
        return not self.instance.get_runs(unfinished, limit=1)


def instance_id(instance: dg.DagsterInstance) -> str:
    """Identify an instance: another one in the same folder, made after its home was removed, has another id."""
    file = Path(instance.root_directory) / _ID
    if not file.exists():
        write_atomically(file, uuid.uuid4().hex)
    return file.read_text(encoding="utf-8")


def remember_problem(
    catalog: RecordingCatalog, entry: CatalogEntry, problem: SortAssetsError, *, was_read: bool, now: float
) -> bool:
    """Keep why a recording can't be registered; returns whether the problem is a new one.

    Parameters
    ----------
    was_read : bool
        Whether its content is the problem, so that reading it again does not help unless it changes.
    now : float
        Seconds since 1970.
    """
    is_new = entry.problem is None or entry.problem.to_dict() != problem.to_dict()
    catalog.put(
        replace(
            entry,
            state=entry.state if entry.state is State.REGISTERED else State.PROBLEM,
            read_stamp=entry.stamp if was_read else entry.read_stamp,
            checked_at=now,
            problem=problem,
            stream_problems={},
        )
    )
    return is_new


def wanted_problems(
    path: str, header: RecordingHeader, partitions: Iterable[CatalogPartition]
) -> dict[str, SortAssetsError]:
    """The problems of a recording's streams, by name, but for those streams that a person forgot."""
    forgotten = {partition.key for partition in partitions if partition.forgotten}
    return {
        name: problem for name, problem in header.problems.items() if str(RecordingKey(path, name)) not in forgotten
    }


def _add_partitions(instance: dg.DagsterInstance, keys: list[str]) -> set[str]:
    """Add the keys that are not there yet, and return them."""
    # Dagster checks first and inserts afterwards: when two processes add the same key at once, one of them fails.
    with exclusive_lock(Path(instance.root_directory) / _LOCK, wait=True):
        new = {key for key in keys if not instance.has_dynamic_partition(RECORDINGS_PARTITIONS, key)}
        if new:
            instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, sorted(new))
        return new


def _is_recording(path: Path, beside: set[str]) -> bool:
    if path.is_file() and not may_be_file(path.name, beside):
        return False
    try:
        if find_format(path) is not None:
            return True
    except RecordingError:
        return True
    return path.is_dir() and are_parts(path.name, {entry.name for entry in path.iterdir()})
