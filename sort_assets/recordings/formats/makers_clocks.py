"""The clocks of makers' recordings, from the times that their files give to blocks of samples.

neo puts blocks together, Neuralynx' whatever is missing between them up to a quarter of one. A file
that states no more than a start keeps that: each of its segments goes on from there at its rate.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from neo.rawio.neuralynxrawio.neuralynxrawio import NeuralynxRawIO
from neo.rawio.openephysrawio import RECORD_SIZE
from spikeinterface.core import BaseRecording  # noqa: TID253

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.clock import MAX_PIECES, BrokenClockError, Clock, ClockPiece
from sort_assets.recordings.corrupt_times import mended
from sort_assets.recordings.sample_numbers import clock_from_numbers
from sort_assets.recordings.timestamps import clock_from_timestamps

_JUMP_SAMPLES = 1.5
"""A block that begins further than this from the end of the one before does not follow it: times are rounded to
microseconds, or to ticks of a slower clock."""
_SOURCE = "timestamps of blocks"
_WRAP = 2**32


def segment_clocks(name: str, recording: BaseRecording) -> list[Clock] | None:
    """The clock of each segment; None where a start and a rate are all that the file has.

    Parameters
    ----------
    name : str
        Of the format.
    recording : BaseRecording
        As SpikeInterface opened it, by neo.

    Raises
    ------
    BrokenClockError
        When the times make no clock.
    """
    read = _READERS.get(name)
    return None if read is None else read(recording)


def clock_from_blocks(starts_s: np.ndarray, counts: np.ndarray, rate_hz: float) -> Clock:
    """The clock of blocks of samples of which each has a time.

    Parameters
    ----------
    starts_s : np.ndarray
        Time of the first sample of each block, in seconds.
    counts : np.ndarray
        Samples in each block.
    rate_hz : float
        Nominal samples per second.

    Returns
    -------
    Clock
        A piece for each stretch of blocks that follow each other, at the rate of its own times.
    """
    starts_s, counts = np.asarray(starts_s, dtype=float), np.asarray(counts, dtype=np.int64)
    starts_s, counts = starts_s[counts > 0], counts[counts > 0]
    if not len(counts) or not np.isfinite(starts_s).all():
        raise BrokenClockError("not all blocks of samples have a time")
    off = np.abs(np.diff(starts_s) * rate_hz - counts[:-1])
    first_blocks = np.flatnonzero(np.concatenate([[True], off > _JUMP_SAMPLES]))
    if len(first_blocks) > MAX_PIECES:
        raise BrokenClockError(f"they jump {len(first_blocks) - 1} times")
    samples = np.concatenate([[0], np.cumsum(counts)])
    pieces = []
    for first, end in zip(first_blocks, [*first_blocks[1:], len(counts)], strict=True):
        elapsed_s, passed = starts_s[end - 1] - starts_s[first], samples[end - 1] - samples[first]
        # Over a few blocks the rounding of times is more than the rate differs from the nominal one.
        measured = passed / elapsed_s if elapsed_s > 0 and passed > 100 * _JUMP_SAMPLES * 1e4 else rate_hz
        pieces.append(ClockPiece(int(samples[first]), int(samples[end]), float(starts_s[first]), float(measured)))
    return Clock(tuple(pieces), rate_hz, _SOURCE)


def clock_from_packet_numbers(numbers: Any, rate_hz: float) -> Clock:
    """The clock of packets of one sample each, of which only those beside lost ones are looked at.

    The numbers lie between the samples, so that to read all of them is to read the whole file. They count up: between
    two that are as far apart as their places are, no packet was lost.

    Parameters
    ----------
    numbers : array_like
        Of each packet, a counter of 32 bits, which may wrap.
    rate_hz : float
        Nominal samples per second.

    Raises
    ------
    BrokenClockError
        When they jump more than `MAX_PIECES` times.
    """
    starts, between = [], [(0, len(numbers) - 1)] if len(numbers) else []
    while between:
        first, last = between.pop()
        if (int(numbers[last]) - int(numbers[first]) - (last - first)) % _WRAP == 0:
            continue
        if last - first == 1:
            starts.append(last)
            if len(starts) > MAX_PIECES:
                raise BrokenClockError(f"packets were lost more than {MAX_PIECES} times")
            continue
        middle = (first + last) // 2
        between += [(middle, last), (first, middle)]
    pieces = []
    number, ends = int(numbers[0]), [*starts, len(numbers)]
    for start, end in zip([0, *starts], ends, strict=True):
        step = (int(numbers[start]) - number) % _WRAP
        number += step - _WRAP if step > _WRAP // 2 else step
        pieces.append(ClockPiece(start, end, number / rate_hz, rate_hz))
        number += end - start
    return mended(Clock(tuple(pieces), rate_hz, "sample numbers"))


class _Seconds:
    """Times in ticks, of which those that are asked for are read and become seconds."""

    ndim = 1

    def __init__(self, ticks: np.ndarray, per_second: float) -> None:
        self._ticks, self._per_second = ticks, per_second
        self.shape = ticks.shape

    def __len__(self) -> int:
        return len(self._ticks)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._ticks[index]) / self._per_second


def _blackrock(recording: BaseRecording) -> list[Clock] | None:
    """From the time of each sample, where the Precision Time Protocol gives one; other files keep pauses apart."""
    reader, number = recording.neo_reader, int(recording.stream_id)
    (described, *others) = reader._nsx_data_header[number]
    if others or "timestamps_memmap_kwargs" not in described:
        return None
    where = described["timestamps_memmap_kwargs"]
    ticks = reader._create_mmap_view(
        fid=reader._get_nsx_fid(number), **{name: value for name, value in where.items() if name != "filename"}
    )
    per_second = float(reader._nsx_basic_header[number]["timestamp_resolution"])
    seconds: Any = _Seconds(ticks, per_second)
    return [clock_from_timestamps(seconds, float(recording.sampling_frequency))]


def _neuralynx(recording: BaseRecording) -> list[Clock] | None:
    """From the records of the stream's first channel, in microseconds; neo counts from the first event."""
    reader = recording.neo_reader
    channels = reader.header["signal_channels"]
    first = channels[channels["stream_id"] == recording.stream_id][0]
    records = NeuralynxRawIO._get_file_map(reader.ncs_filenames[first["name"], first["id"]])
    counts, rate_hz = records["nb_valid"].astype(np.int64), float(recording.sampling_frequency)
    ends = np.cumsum([int(recording.get_num_samples(index)) for index in range(recording.get_num_segments())])
    if not np.isin(np.cumsum(counts)[counts < counts.max(initial=0)], ends).all():
        raise UnreadableRecordingError(
            f"'{reader.dirname}' has records that are not full and go on without a gap: neo (up to 0.14.6) would read "
            "what stands in the rest of them, and was never recorded.",
            remedy="Write its samples to a plain binary file without them, and describe it in recording.binary.",
        )
    return _by_segment(recording, clock_from_blocks(records["timestamp"].astype(np.int64) / 1e6, counts, rate_hz))


def _tdt(recording: BaseRecording) -> list[Clock] | None:
    """From the index of blocks, in seconds since 1970; neo counts from the beginning of the block."""
    reader = recording.neo_reader
    channels = reader.header["signal_channels"]
    first = int(np.flatnonzero(channels["stream_id"] == recording.stream_id)[0])
    index = reader._sigs_index[0][first]
    counts = np.full(len(index), int(reader._sig_sample_per_chunk[int(recording.stream_id)]))
    starts_s = index["timestamp"] - reader._global_t_start
    return _by_segment(recording, clock_from_blocks(starts_s, counts, float(recording.sampling_frequency)))


def _spikegadgets(recording: BaseRecording) -> list[Clock] | None:
    """From the number of each packet."""
    packets, at = recording.neo_reader._raw_memmap, recording.neo_reader._timestamp_byte
    numbers: np.ndarray = np.ndarray((len(packets),), "<u4", packets, offset=at, strides=(packets.shape[1],))
    return [clock_from_packet_numbers(numbers, float(recording.sampling_frequency))]


def _neuronexus(recording: BaseRecording) -> list[Clock] | None:
    """From the number of each sample."""
    return _by_segment(
        recording, clock_from_numbers(recording.neo_reader._timestamps, float(recording.sampling_frequency))
    )


def _open_ephys_legacy(recording: BaseRecording) -> list[Clock] | None:
    """From the number of the first sample in each record."""
    rate_hz, clocks = float(recording.sampling_frequency), []
    for index in range(recording.get_num_segments()):
        first, *others = recording.neo_reader.record_numbers(index)
        if any(not np.array_equal(first, other) for other in others):
            raise BrokenClockError("its channels lack different samples")
        counts = np.full(len(first), RECORD_SIZE)
        clocks.append(clock_from_blocks(first / rate_hz, counts, rate_hz))
    return clocks


def _alphaomega(recording: BaseRecording) -> list[Clock] | None:
    """neo (up to 0.14.6) counts blocks of samples by their numbers, and leaves what is between them to chance."""
    for segment in recording.neo_reader._segments:
        for channel in segment["streams"][recording.stream_id].values():
            blocks = sorted(
                (first, first + count) for file in channel["positions"].values() for first, _, count in file
            )
            if any(end != first for (_, end), (first, _) in pairwise(blocks)):
                raise BrokenClockError("samples were lost in between")
    return None


def _by_segment(recording: BaseRecording, clock: Clock) -> list[Clock] | None:
    lengths = [int(recording.get_num_samples(index)) for index in range(recording.get_num_segments())]
    if sum(lengths) != clock.num_samples:
        raise BrokenClockError(f"they are those of {clock.num_samples} samples, and there are {sum(lengths)}")
    ends = np.cumsum([0, *lengths])
    return [clock.cut(int(start), int(end)) for start, end in pairwise(ends)]


_READERS: dict[str, Callable[[Any], list[Clock] | None]] = {
    "blackrock": _blackrock,
    "neuralynx": _neuralynx,
    "tdt": _tdt,
    "spikegadgets": _spikegadgets,
    "neuronexus": _neuronexus,
    "open_ephys_legacy": _open_ephys_legacy,
    "alphaomega": _alphaomega,
}
