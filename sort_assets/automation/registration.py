"""From a path to a partition: what `sort-assets register` does, and what sensors will do."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance

from sort_assets.assets.raw_recording import raw_recording
from sort_assets.errors import MissingRecordingError, OutsideRecordingsRootError, RecordingError
from sort_assets.partitions import RECORDINGS_PARTITIONS, RecordingKey
from sort_assets.recordings import open_recording, sortable_streams
from sort_assets.recordings.fingerprint import fingerprint
from sort_assets.recordings.formats import find_format, folder_entries
from sort_assets.storage.locks import exclusive_lock

DATA_VERSION_TAG = "dagster/data_version"
_LOCK = "registering.lock"


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


def register_recording(instance: DagsterInstance, path: Path, root: Path) -> list[Registered]:
    """Make a recording a partition for each of its sortable streams, and report what was seen of it.

    Parameters
    ----------
    instance : DagsterInstance
    path : Path
        A file, a recording folder, or a folder of files to concatenate; below `root`.
    root : Path
        The recordings root.

    Raises
    ------
    RecordingError
        When the path is outside the root, or is no recording that can be opened.
    """
    if path.resolve() == root.resolve():
        raise OutsideRecordingsRootError(
            f"'{path}' is the recordings root itself.",
            remedy="Name recordings below it, or add --each to register every recording directly inside.",
        )
    RecordingKey.from_path(path, root)
    streams: list[str | None] = [*sortable_streams(path)] or [None]
    found = find_format(path)
    data_version = fingerprint(path)
    registered = []
    for stream in streams:
        key = RecordingKey.from_path(path, root, stream)
        recording = open_recording(path, stream)
        new = _add_partition(instance, str(key))
        instance.report_runless_asset_event(
            dg.AssetObservation(
                asset_key=raw_recording.key,
                partition=str(key),
                description=f"Registered from {path}.",
                metadata={
                    "path": dg.MetadataValue.path(key.locate(root)),
                    "bytes": _size(path),
                    "format": found.name if found else "folder of files to concatenate",
                    "channels": recording.get_num_channels(),
                    "sampling_hz": float(recording.sampling_frequency),
                    "duration_s": float(recording.get_duration()),
                },
                tags={DATA_VERSION_TAG: data_version},
            )
        )
        registered.append(Registered(str(key), new))
    return registered


def _add_partition(instance: DagsterInstance, key: str) -> bool:
    """Add a key unless it is there; returns whether it was new."""
    # Dagster looks first and inserts then: two processes that add the same key at once, and one of them fails.
    with exclusive_lock(Path(instance.root_directory) / _LOCK, wait=True):
        new = not instance.has_dynamic_partition(RECORDINGS_PARTITIONS, key)
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, [key])
        return new


def _is_recording(path: Path) -> bool:
    try:
        return find_format(path) is not None
    except RecordingError:
        return True


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
