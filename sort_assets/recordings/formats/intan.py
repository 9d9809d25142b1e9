"""Intan's `.rhd` and `.rhs` recordings: a single file, or a folder with one file for each type of signal or channel.

Only the amplifier channels are sorted. The files hold no positions of the electrodes: `recording.probe_file` does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from neo.rawio.intanrawio import IntanRawIO, read_rhd, read_rhs
from spikeinterface.core import BaseRecording  # noqa: TID253
from spikeinterface.extractors.neoextractors.intan import IntanRecordingExtractor  # noqa: TID253

from sort_assets.config import RecordingConfig
from sort_assets.errors import StreamError, UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import (
    COPY_AGAIN,
    NOT_UNDERSTOOD,
    NOTHING_RECORDED,
    choose_stream,
    clock_readable,
    count_samples,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.formats.stated_numbers import stated_rate
from sort_assets.recordings.sample_numbers import clock_from_numbers

STREAM = "amplifier"
MAGIC_NUMBERS = {".rhd": 0xC6912702, ".rhs": 0xD69127AC}
"""What the files begin with, little-endian; from Intan's "RHD2000/RHS2000 data file formats"."""
HEADER_NAMES = frozenset({"info.rhd", "info.rhs"})
"""The header in a folder of files by signal type or channel; no recording on its own."""
TIME_NAME = "time.dat"
"""Sample numbers (int32) in such a folder."""
_AMPLIFIER_STREAM_ID = "0"
_LARGEST_VALUE = 4096
"""Bytes that hold a sample of all channels of any kind."""


def is_intan(path: Path) -> bool:
    """Whether a path is an Intan file or folder.

    Raises
    ------
    UnreadableRecordingError
        When a file with Intan's suffix is empty or does not begin as one, or is the header of a folder.
    """
    if path.is_dir():
        header = _header_of(path)
        if header is None or not (path / TIME_NAME).is_file():
            return False
        _check_beginning(header)
        return True
    if path.suffix.lower() not in MAGIC_NUMBERS or not path.is_file():
        return False
    if path.suffix not in MAGIC_NUMBERS:  # neo (up to 0.14.6) reads no such name
        raise UnreadableRecordingError(
            f"'{path}' is not read, since its name does not end in small letters.",
            remedy=f"Rename it to '{path.with_suffix(path.suffix.lower()).name}'.",
        )
    if path.name in HEADER_NAMES:
        has_samples = (path.parent / TIME_NAME).is_file()
        raise UnreadableRecordingError(
            f"'{path}' is only the header of a recording"
            + ("." if has_samples else f", and the file {TIME_NAME} that belongs to it is missing."),
            remedy=f"Name the folder '{path.parent}' instead." if has_samples else COPY_AGAIN,
        )
    _check_beginning(path)
    return True


def intan_streams(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    """The only stream that can be sorted."""
    return (STREAM,)


def open_intan(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open the amplifier channels.

    Returns
    -------
    BaseRecording
        Channels have Intan's own names ("A-000") for ids, and their port as group. Time is that of the first
        sample's number: files that were cut each minute count on.

    Raises
    ------
    StreamError
        When another stream is asked for, or no amplifier channel was recorded.
    UnreadableRecordingError
        When a file is damaged or truncated, or its sample numbers jump all the time.
    """
    choose_stream(path, stream, (STREAM,))
    missing = Missing(config.accept_incomplete)
    _check_rate(_header_of(path) or path if path.is_dir() else path)
    if path.is_dir():
        num_samples = _check_sizes(path, missing)
        recording = _extract(path, _header_of(path) or path)
        _check_channels(path, recording, num_samples, missing)
    else:
        recording = _extract(path, path)
        if recording.neo_reader.rest_bytes:
            missing.note(f"'{path}' is truncated: it ends in the middle of a block of samples.")
    read_first_and_last_sample(recording, path)
    with clock_readable(path):
        clock = clock_from_numbers(recording.sample_numbers, float(recording.sampling_frequency))
    clock = clock.cut(0, min(clock.num_samples, recording.get_num_samples())).extended(recording.get_num_samples())
    recording.shift_times(clock.start_time_s)
    annotate_clocks(recording, [clock])
    missing.annotate(recording)
    return recording


class IntanRecording(IntanRecordingExtractor):  # type: ignore[misc]
    """SpikeInterface's extractor of Intan's amplifiers, without neo's checks of sizes and sample numbers.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process. neo's check
    (up to 0.14.6, the newest when this was written) refuses files with a jump, which the recording's clock follows. It
    also copies the numbers: for an hour at 30 kHz, 2 s and 0.9 GB at each opening.
    """

    @classmethod
    def get_neo_io_reader(cls, raw_class: str, **neo_kwargs: Any) -> IntanRawIO:  # noqa: ARG003
        reader = _IntanReader(**neo_kwargs)
        reader.parse_header()
        return reader

    @property
    def sample_numbers(self) -> np.ndarray:
        """Numbers of the samples, memory-mapped, of shape (samples,), (samples, 1) or (blocks, samples in a block).

        The first may be negative, where a trigger is sample 0.
        """
        numbers = self.neo_reader._raw_data["timestamp"]
        return np.asanyarray(numbers[0] if isinstance(numbers, list) else numbers)


class _IntanReader(IntanRawIO):  # type: ignore[misc]
    """neo's reader, which also reads files that are cut off: as far as they are whole.

    Attributes
    ----------
    rest_bytes : int
        Of the incomplete block of samples at the end of a single file.
    """

    rest_bytes = 0
    filename: Any
    _raw_data: Any

    def _parse_header(self) -> None:
        file = Path(self.filename)
        if file.name in HEADER_NAMES:
            self._parse_folder(file)
            return
        read = read_rhd if file.suffix == ".rhd" else read_rhs
        _, _, dtype, header_bytes, *_ = read(file, "header-attached")
        block_bytes = np.dtype(dtype).itemsize
        num_blocks, self.rest_bytes = divmod(file.stat().st_size - header_bytes, block_bytes)
        if num_blocks < 1 or not self.rest_bytes:
            super()._parse_header()
            return
        # neo can't open the file; of its beginning it reads everything but the samples, which are mapped here.
        with TemporaryDirectory() as folder, file.open("rb") as opened:
            beginning = Path(folder) / file.name
            beginning.write_bytes(opened.read(header_bytes + block_bytes))
            self.filename = beginning
            super()._parse_header()
        self.filename = file
        self._raw_data = np.memmap(file, dtype, mode="r", offset=header_bytes, shape=(num_blocks,))
        self._max_sigs_length = num_blocks * self._block_size

    def _parse_folder(self, header: Path) -> None:
        odd = [
            file for file in header.parent.rglob("*.dat") if file.stat().st_size % (4 if file.name == TIME_NAME else 2)
        ]
        if not odd:
            super()._parse_header()
        else:
            # neo maps no file that ends within a value; it reads a copy of the folder whose files hold one each.
            with TemporaryDirectory() as folder:
                copy = Path(folder) / header.name
                copy.write_bytes(header.read_bytes())
                for file in header.parent.glob("*.dat"):
                    (copy.parent / file.name).write_bytes(bytes(_LARGEST_VALUE))
                self.filename = copy
                super()._parse_header()
            self.filename = header
            for name, mapped in self._raw_data.items():
                several = mapped if isinstance(mapped, list) else [mapped]
                whole = [_map_values(header.parent / Path(one.filename).name, one) for one in several]
                self._raw_data[name] = whole if isinstance(mapped, list) else whole[0]
        for name, files in self._raw_data.items():
            if isinstance(files, list) and files:
                self._raw_data[name] = [values[: min(map(len, files))] for values in files]

    def _assert_timestamp_continuity(self) -> None:
        pass


def _map_values(file: Path, like: np.ndarray) -> np.ndarray:
    """The whole samples of a file, memory-mapped, of the type and number of channels that another map has."""
    channels = like.shape[1:]
    num_samples = file.stat().st_size // (like.dtype.itemsize * int(np.prod(channels, dtype=int)))
    return np.memmap(file, like.dtype, mode="r", shape=(num_samples, *channels))


def _extract(path: Path, header: Path) -> IntanRecording:
    with readable(path):
        try:
            return IntanRecording(header, stream_id=_AMPLIFIER_STREAM_ID)
        # The messages of neo 0.14.6, SpikeInterface 0.105.3 and numpy; everything else is reported as it is.
        except IndexError as error:
            raise UnreadableRecordingError(
                f"'{header}' is truncated or damaged: its header is not complete.", remedy=NOT_UNDERSTOOD
            ) from error
        except AssertionError as error:
            if "stream_id" not in str(error):
                raise
            raise StreamError(
                f"'{path}' holds no amplifier channels.", remedy="Record with amplifier channels enabled."
            ) from error
        except ValueError as error:
            if "not a multiple of the data-type size" in str(error):
                what, remedy = (
                    "is truncated: it ends in the middle of a sample, or of its first block of samples",
                    COPY_AGAIN,
                )
            elif "empty file" in str(error) or "mmap offset" in str(error):
                what, remedy = "holds no samples", NOTHING_RECORDED
            else:
                raise
            raise UnreadableRecordingError(f"'{path}' {what}.", remedy=remedy) from error


def _header_of(folder: Path) -> Path | None:
    return next((folder / name for name in sorted(HEADER_NAMES) if (folder / name).is_file()), None)


def _check_beginning(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(4)
    if not beginning:
        raise UnreadableRecordingError(f"'{path}' is empty.", remedy=NOTHING_RECORDED)
    if beginning != MAGIC_NUMBERS[path.suffix].to_bytes(4, "little"):
        raise UnreadableRecordingError(
            f"'{path}' is damaged or incomplete: it does not begin as an Intan {path.suffix} file does.",
            remedy=NOT_UNDERSTOOD,
        )


def _check_rate(header: Path) -> None:
    """Check the sampling rate, which stands behind the magic number and the version."""
    with header.open("rb") as file:
        beginning = file.read(12)
    if len(beginning) == 12:
        stated_rate(struct.unpack("<f", beginning[8:])[0], "sampling rate", header)


def _check_sizes(folder: Path, missing: Missing) -> int:
    """Samples per channel, by the file of the sample numbers, with which the others have to agree.

    neo (up to 0.14.6) silently cuts to what fits.
    """
    num_samples = count_samples(folder / TIME_NAME, 1, itemsize=4, missing=missing)
    if num_samples == 0:
        raise UnreadableRecordingError(f"'{folder / TIME_NAME}' is empty.", remedy=NOTHING_RECORDED)
    _check_size(sorted(folder.glob("amp-*.dat")), 1, num_samples, missing)
    return num_samples


def _check_size(files: Sequence[Path], num_channels: int, num_samples: int, missing: Missing) -> None:
    sizes = {file: file.stat().st_size for file in files}
    wrong = [file for file, size in sizes.items() if size != 2 * num_channels * num_samples]
    if wrong:
        further = f" (and {len(wrong) - 1} further files of channels)" if len(wrong) > 1 else ""
        channels = f"{num_channels} channel{'s' if num_channels > 1 else ''}"
        missing.note(
            f"'{wrong[0]}'{further} or '{TIME_NAME}' beside it is truncated: its {sizes[wrong[0]]} bytes are not the "
            f"{num_samples} samples of '{TIME_NAME}' for {channels}."
        )


def _check_channels(folder: Path, recording: BaseRecording, num_samples: int, missing: Missing) -> None:
    """Check that each channel of the header has its samples, where neo looks for them."""
    common = folder / "amplifier.dat"
    if common.is_file():
        _check_size([common], recording.get_num_channels(), num_samples, missing)
        return
    expected = [f"amp-{channel_id}.dat" for channel_id in recording.channel_ids]
    absent = [name for name in expected if not (folder / name).is_file()]
    if absent:
        raise UnreadableRecordingError(
            f"'{folder}' lacks the samples of {len(absent)} channels: {', '.join(absent[:5])}.",
            remedy=f"{COPY_AGAIN} Where a channel's file is lost for good, put one of zeros there, of the size of the "
            "others, and name the channel in recording.bad_channel_ids.",
        )
    # neo (up to 0.14.6) assigns the files to the channels in the order of their names, whatever the header's order
    # (NeuralEnsemble/python-neo#1599), and takes every file below the folder whose name contains "amp".
    taken = sorted(file.name for file in folder.glob("**/*.dat") if "amp" in file.name)
    if taken != expected:
        raise UnreadableRecordingError(
            f"The amplifier files of '{folder}' are not those of its header, one for each channel and in this order.",
            remedy="Remove other .dat files from the folder; if there are none, restore the channels' original order "
            "in Intan's software and save the recording again.",
        )
