"""What several formats share: telling damaged files from foreign ones, choosing a stream, the order of files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.errors import SortAssetsError, StorageError, StreamError, UnreadableRecordingError
from sort_assets.recordings.clock import BrokenClockError
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.compression_filters import missing_filter_error, register_filters

if TYPE_CHECKING:
    import h5py
    from spikeinterface.core import BaseRecording

MIN_SORTABLE_RATE_HZ = 5000.0
"""Below this rate a stream holds local field potentials: spikes of about a millisecond need more samples."""

LINKED_FILE = "linked_file"
"""Annotation of a recording whose samples lie in another file than the one that was opened: that file."""
COPY_AGAIN = "Copy the recording again from where it was made, and compare the sizes."
NO_END = (
    f"{COPY_AGAIN} If it is whole nowhere, ignore it with a rule: HDF5 can't open a file without its end, so that "
    "recording.accept_incomplete does not help, but to leave it out of a folder of files that are one recording."
)
NOTHING_RECORDED = (
    "Compare it with the original, and copy it again if that holds more. If it does not, nothing was recorded: move it "
    "away, or ignore it with a rule."
)
NOT_UNDERSTOOD = (
    "Compare it with the original, and copy it again if they differ. If they do not, it was damaged when it was made, "
    "or is written in a way that sort_assets does not know: open it in the program that made it, save it in another "
    "format if it is whole there, and please report this message."
)
"""Where a copy helps only if it is not like the original."""


def not_allowed(path: Path, error: OSError) -> StorageError:
    """The error for a file or folder that the operating system does not let us read."""
    return StorageError(
        f"'{path}' can't be read: {error.strerror}.",
        remedy="Give the user that runs sort_assets the right to read it, or ignore it with a rule.",
        path=str(path),
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises about a file into `UnreadableRecordingError` with its cause.

    Readers raise anything on damaged files: OSError, KeyError, AssertionError, ValueError. Errors that are
    already classified pass unchanged.
    """
    try:
        yield
    except SortAssetsError:
        raise
    except UnicodeEncodeError as error:
        raise _no_text(path) from error
    except Exception as error:
        lacking = missing_filter_error(path, error)
        if lacking is not None:
            raise lacking from error
        raise UnreadableRecordingError(
            f"'{path}' can't be read: {type(error).__name__}: {error}.", remedy=NOT_UNDERSTOOD
        ) from error


@contextmanager
def clock_readable(path: Path) -> Iterator[None]:
    """Turn numbers or timestamps that make no clock into `UnreadableRecordingError`."""
    try:
        yield
    except BrokenClockError as error:
        raise UnreadableRecordingError(
            f"The times of the samples in '{path}' make no clock: {error}.",
            remedy="Look at what wrote the file: timestamps must be finite and those of samples, not of packets. If "
            "only the times are broken, export the samples to a plain binary file, which has a rate of its own.",
        ) from error


def _no_text(path: Path) -> UnreadableRecordingError:
    return UnreadableRecordingError(
        f"The name of '{path}' holds bytes that are no text in UTF-8, which the format's reader can't take.",
        remedy="Rename the file or the folder.",
    )


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, with the filters of hdf5plugin.

    Raises
    ------
    UnreadableRecordingError
        When the file is empty, truncated, or no HDF5 file at all.
    """
    import h5py

    register_filters()
    if path.stat().st_size == 0:
        raise UnreadableRecordingError(f"'{path}' is empty.", remedy=NOTHING_RECORDED)
    try:
        file = h5py.File(path, "r")
    except UnicodeEncodeError as error:
        raise _no_text(path) from error
    except OSError as error:
        if "truncated" in str(error):
            what, remedy = "is truncated: its end is missing", NO_END
        elif "signature not found" in str(error):
            what, remedy = "is damaged or incomplete: it does not begin as an HDF5 file does", NOT_UNDERSTOOD
        else:
            what, remedy = "can't be opened as an HDF5 file", NOT_UNDERSTOOD
        raise UnreadableRecordingError(f"'{path}' {what} ({error}).", remedy=remedy) from error
    with file:
        yield file


def count_samples(path: Path, num_channels: int, itemsize: int = 2, *, missing: Missing | None = None) -> int:
    """Whole samples per channel of a flat file that holds one sample of all channels after the other.

    Parameters
    ----------
    path : Path
        The file.
    num_channels : int
        Channels in the file, those included that are not sorted.
    itemsize : int
        Bytes of one value.
    missing : Missing or None
        Notes that the file ends within a sample; None refuses that.

    Raises
    ------
    UnreadableRecordingError
        When the file is missing, or ends within a sample and that is not accepted.
    """
    if not path.is_file():
        raise UnreadableRecordingError(f"'{path}' is missing.", remedy=COPY_AGAIN)
    num_bytes = path.stat().st_size
    num_samples, rest = divmod(num_bytes, num_channels * itemsize)
    if rest:
        (missing or Missing(accepted=False)).note(
            f"'{path}' is truncated: its {num_bytes} bytes are not a whole number of samples of {num_channels} "
            "channels."
        )
    return num_samples


def read_first_and_last_sample(recording: BaseRecording, path: Path) -> None:
    """Read one sample at each end, so that what can't be read is found when a recording is opened.

    Raises
    ------
    UnreadableRecordingError
        When a segment is empty or its ends can't be read.
    """
    for segment_index in range(recording.get_num_segments()):
        num_samples = recording.get_num_samples(segment_index)
        if num_samples == 0:
            raise UnreadableRecordingError(f"'{path}' holds no samples.", remedy=NOTHING_RECORDED)
        with readable(path):
            recording.get_traces(segment_index, start_frame=0, end_frame=1)
            recording.get_traces(segment_index, start_frame=num_samples - 1, end_frame=num_samples)


def choose_stream(path: Path, stream: str | None, available: Sequence[str], broken: Collection[str] = ()) -> str:
    """The stream to open.

    Parameters
    ----------
    path : Path
        The file, for the message.
    stream : str or None
        The name asked for; None takes the only one.
    available : sequence of str
        Names of the streams that can be sorted.
    broken : collection of str
        Those of them that can't be read: they can be named, to be told why, but are not proposed.

    Raises
    ------
    StreamError
        When the name does not exist, or none is given and there is not exactly one stream.
    """
    listed = ", ".join([name for name in available if name not in broken] or available)
    if stream is None:
        if len(available) == 1:
            return available[0]
        if not available:
            raise StreamError(
                f"'{path}' holds no stream that can be sorted (at least {MIN_SORTABLE_RATE_HZ:.0f} Hz).",
                remedy="Check that the file holds the wide-band signal, not only local field potentials.",
            )
        unread = f", of which {len(broken)} can't be read," if broken else ""
        raise StreamError(
            f"'{path}' holds {len(available)} streams{unread} and none was named.",
            remedy=f"Set recording.stream to one of: {listed}.",
        )
    if stream.strip("/") in available:
        return stream.strip("/")
    raise StreamError(
        f"'{path}' has no stream '{stream}' that can be sorted.",
        remedy=f"Set recording.stream to one of: {listed}." if available else "Check the file's content.",
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Names of channels as they are, but for the second and further ones of the same name: "CH1", "CH1#2".

    SpikeInterface takes names for ids, which have to differ.
    """
    taken = set(names)
    found: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate in found or (number > 1 and candidate in taken):
            number += 1
            candidate = f"{name}#{number}"
        found.add(candidate)
        unique.append(candidate)
    return unique


def natural_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares runs of digits as numbers: "part_2" comes before "part_10".

    Parameters
    ----------
    text : str
        A file name or the name of a group.

    Returns
    -------
    tuple
        Comparable with the key of any other text.
    """
    parts = re.split(r"([0-9]+)", text)
    # The end comes before any further part; with the text itself there, "1" and "01" always have the same order.
    return (
        *((0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts if part),
        (-1, 0, text),
    )
