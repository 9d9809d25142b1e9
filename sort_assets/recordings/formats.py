"""The one table of the formats that can be opened.

A format is recognised by name and header, never by trying every reader. To add one, write how it is recognised,
which streams it has and how one is opened, and add a line to `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.errors import MissingRecordingError, UnknownFormatError
from sort_assets.recordings import maxwell, nwb, spikeinterface_folders
from sort_assets.recordings.natural_order import natural_order

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


@dataclass(frozen=True)
class RecordingFormat:
    """A format of files or folders that hold recordings.

    Attributes
    ----------
    name : str
        Short name, shown and stored.
    description : str
        One line for people.
    may_be_file : callable
        ``may_be_file(name) -> bool``: whether a file of this name may be such a recording. Touches no disk: it is asked
        of every file below the recordings root, again and again.
    may_be_folder : callable
        ``may_be_folder(name, entries) -> bool``: whether a folder of this name, which directly holds files and folders
        of these names, may be such a recording. Touches no disk either.
    recognises : callable
        ``recognises(path) -> bool``, cheap. Raises `UnreadableRecordingError` for a file that has the format's name
        but is empty or damaged.
    streams : callable
        ``streams(path)``: names of the streams that can be sorted, each on its own.
    open : callable
        ``open(path, stream)``: the raw recording; ``stream`` may be None when there is one.
    """

    name: str
    description: str
    may_be_file: Callable[[str], bool]
    may_be_folder: Callable[[str, Set[str]], bool]
    recognises: Callable[[Path], bool]
    streams: Callable[[Path], tuple[str, ...]]
    open: Callable[[Path, str | None], BaseRecording]


def _only_stream(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    return (spikeinterface_folders.STREAM,)


def _never(*_: object) -> bool:
    return False


def _ending(*suffixes: str) -> Callable[[str], bool]:
    return lambda name: name.lower().endswith(suffixes)


FORMATS = (
    RecordingFormat(
        "nwb",
        "Neurodata Without Borders (.nwb)",
        _ending(".nwb"),
        _never,
        nwb.is_nwb,
        nwb.nwb_streams,
        nwb.open_nwb,
    ),
    RecordingFormat(
        "maxwell",
        "MaxWell Biosystems MaxOne and MaxTwo (.h5)",
        _ending(".h5"),
        _never,
        maxwell.is_maxwell,
        maxwell.maxwell_streams,
        maxwell.open_maxwell,
    ),
    RecordingFormat(
        "spikeinterface_binary",
        "SpikeInterface binary folder",
        _never,
        spikeinterface_folders.may_be_binary_folder,
        spikeinterface_folders.is_binary_folder,
        _only_stream,
        spikeinterface_folders.open_binary_folder,
    ),
    RecordingFormat(
        "spikeinterface_zarr",
        "SpikeInterface zarr folder",
        _never,
        spikeinterface_folders.may_be_zarr_folder,
        spikeinterface_folders.is_zarr_folder,
        _only_stream,
        spikeinterface_folders.open_zarr_folder,
    ),
)


def find_format(path: Path) -> RecordingFormat | None:
    """The format of a file or folder, or None.

    Raises
    ------
    MissingRecordingError
        When nothing is there.
    UnreadableRecordingError
        When a file with a format's name is empty or damaged.
    """
    if not path.exists():
        raise MissingRecordingError(
            f"'{path}' does not exist.", remedy="Check the path, and that the disk or share is mounted."
        )
    return next((recording_format for recording_format in FORMATS if recording_format.recognises(path)), None)


def recognise(path: Path) -> RecordingFormat:
    """The format of a file or folder.

    Raises
    ------
    MissingRecordingError
        When nothing is there.
    UnknownFormatError
        When no format recognises it; a folder of files to concatenate is not a format either.
    UnreadableRecordingError
        When a file with a format's name is empty or damaged.
    """
    recording_format = find_format(path)
    if recording_format is None:
        raise unknown_format(path)
    return recording_format


def unknown_format(path: Path) -> UnknownFormatError:
    """The error for something that is no recording."""
    known = "; ".join(recording_format.description for recording_format in FORMATS)
    what = "holds no recording" if path.is_dir() else "has no known format"
    return UnknownFormatError(f"'{path}' {what}.", remedy=f"Use one of: {known}; or a folder of such files.")


def folder_entries(folder: Path) -> list[Path]:
    """What is directly inside a folder, in natural order ("part_2" before "part_10"), hidden files left out."""
    entries = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(entries, key=lambda path: natural_order(path.name))


def folder_members(folder: Path) -> list[tuple[Path, RecordingFormat]]:
    """The recordings among the entries of a folder, each with its format; what is no recording is left out.

    Raises
    ------
    UnreadableRecordingError
        When a file with a format's name is empty or damaged.
    """
    members = ((path, find_format(path)) for path in folder_entries(folder))
    return [(path, recording_format) for path, recording_format in members if recording_format is not None]


def sortable_streams(path: Path) -> tuple[str, ...]:
    """Names of the streams of which each is sorted on its own.

    Parameters
    ----------
    path : Path
        A file, or a folder of files to concatenate, which all have the streams of the first.

    Returns
    -------
    tuple of str
        Empty when there is exactly one stream, so that no name is needed.

    Raises
    ------
    RecordingError
        As `recognise` does.
    """
    recording_format = find_format(path)
    if recording_format is None and path.is_dir():
        members = folder_members(path)
        if members:
            path, recording_format = members[0]
    if recording_format is None:
        raise unknown_format(path)
    streams = recording_format.streams(path)
    return () if len(streams) == 1 else streams
