"""The header of a recording: its format, its streams and their sizes, read without computing anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.config.model import RecordingConfig
from sort_assets.errors import SortAssetsError, StreamError
from sort_assets.recordings.clock_check import clock
from sort_assets.recordings.fingerprint import fingerprint
from sort_assets.recordings.formats.reading import LINKED_FILE, not_allowed, readable
from sort_assets.recordings.formats.table import find_format, sortable_streams
from sort_assets.recordings.opening import open_recording

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

CONCATENATED = "folder of files to concatenate"


@dataclass(frozen=True)
class StreamHeader:
    """One stream of a recording.

    Attributes
    ----------
    name : str or None
        None where there is only one, which needs no name.
    channels : int
    sampling_hz : float
    duration_s : float
    clock : str or None
        What is wrong with its clock, in sentences; None when nothing is.
    linked_file : str or None
        The file that holds its samples, where the recording only has a link to them.
    has_positions : bool
        Whether it is known where its electrodes are, from its files or from a probe file.
    """

    name: str | None
    channels: int
    sampling_hz: float
    duration_s: float
    clock: str | None = None
    linked_file: str | None = None
    has_positions: bool = True


@dataclass(frozen=True)
class RecordingHeader:
    """A recording whose ends could be read.

    Attributes
    ----------
    format : str
        Name of the format, or `CONCATENATED`.
    streams : tuple of StreamHeader
        Those that are sorted, each on its own.
    num_bytes : int
        Size of all its files.
    fingerprint : str
        Changes when the content does.
    problems : mapping of str to SortAssetsError
        By name, why further streams can't be sorted.
    left_out : tuple of str
        Sentences about what is there and is not read, since something else holds the same samples.
    """

    format: str
    streams: tuple[StreamHeader, ...]
    num_bytes: int
    fingerprint: str
    problems: Mapping[str, SortAssetsError] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A representation for JSON; `from_dict` restores it."""
        problems = {name: error.to_dict() for name, error in self.problems.items()}
        return {**asdict(replace(self, problems={})), "problems": problems}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RecordingHeader:
        """The header that `to_dict` described."""
        streams = tuple(StreamHeader(**stream) for stream in values["streams"])
        problems = {name: SortAssetsError.from_dict(error) for name, error in values["problems"].items()}
        return cls(
            values["format"], streams, values["num_bytes"], values["fingerprint"], problems, tuple(values["left_out"])
        )


def read_header(path: Path, config: RecordingConfig, *, streams: Sequence[str] | None = None) -> RecordingHeader:
    """Open every stream of a recording, and read its first and last sample and its fingerprint.

    A stream that can't be opened does not keep the others from being read.

    Parameters
    ----------
    path : Path
        A file, a recording folder, or a folder of files to concatenate.
    config : RecordingConfig
        Says what the files do not: the format, the description of a plain binary, the probe.
    streams : sequence of str or None
        Patterns, as of a shell, of the names of the streams to take; None takes all. `config.stream`, where it is set,
        takes that one alone.

    Raises
    ------
    RecordingError, SorterEnvironmentError
        As `open_recording` does, when no stream can be opened.
    StreamError
        When no stream has a name that was asked for.
    StorageError
        When it may not be read.
    """
    _check_readable(path)
    found = find_format(path, config)
    names = sortable_streams(path, config)
    taken: list[str | None] = [*names] or [None]
    if names and streams is not None:
        taken = [name for name in names if any(fnmatchcase(name, pattern) for pattern in streams)]
    if names and config.stream is not None:
        taken = [name for name in names if name == config.stream.strip("/")]
    if not taken:
        raise StreamError(
            f"No stream of '{path}' is one of those asked for ({', '.join(streams or [config.stream or ''])}).",
            remedy=f"Name some of its streams: {', '.join(names)}.",
        )
    headers: list[StreamHeader] = []
    problems: dict[str, SortAssetsError] = {}
    for name in taken:
        try:
            headers.append(_read_stream(path, name, config))
        except SortAssetsError as error:
            if name is None or len(taken) == 1:
                raise
            problems[name] = error
    if not headers:
        raise _together(problems)
    format_name = found.name if found else CONCATENATED
    left_out = found.left_out(path) if found else ()
    return RecordingHeader(format_name, tuple(headers), _num_bytes(path), fingerprint(path), problems, left_out)


def _read_stream(path: Path, name: str | None, config: RecordingConfig) -> StreamHeader:
    with readable(path):  # whatever a library raises about one stream, the others are read
        recording = open_recording(path, name, config)
    rate_hz = float(recording.sampling_frequency)
    num_samples = int(recording.get_num_samples())
    return StreamHeader(
        name,
        int(recording.get_num_channels()),
        rate_hz,
        num_samples / rate_hz,
        _what_is_wrong_with_the_clock(recording),
        recording.get_annotation(LINKED_FILE),
        bool(recording.has_probe()),
    )


def _together(problems: Mapping[str, SortAssetsError]) -> SortAssetsError:
    """One error for all streams: the same for all, or that of the first with the others' messages and remedies."""
    errors = list(problems.values())
    if len({error.message for error in errors}) == 1:
        return errors[0]
    messages = " ".join(f"{name}: {error.message}" for name, error in problems.items())
    return type(errors[0])(
        f"None of the {len(errors)} streams can be sorted. {messages}",
        remedy=" ".join(dict.fromkeys(error.remedy for error in errors)),
    )


def _check_readable(path: Path) -> None:
    """Raise the right error for missing permissions, which the formats' readers would report as damage."""
    wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if path.exists() and not os.access(path, wanted, effective_ids=True):
        raise not_allowed(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _what_is_wrong_with_the_clock(recording: BaseRecording) -> str | None:
    """Known as soon as a recording is open, which needs its clock."""
    result = clock(recording)
    return None if result.passed else result.description


def _num_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
