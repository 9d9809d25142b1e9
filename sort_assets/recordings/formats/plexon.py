"""Plexon's `.plx` files. A stream is what channels of the same prefix have: WB for the wide band.

In place of neo's reader, which (up to 0.14.6) takes a quarter of a millisecond for each of many thousand blocks, reads
the last one as zeros, states no unit, and forgets what is missing between blocks.
"""

from __future__ import annotations

import mmap
import re
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from neo.rawio.plexonrawio import DspChannelHeader, EventChannelHeader, GlobalHeader, SlowChannelHeader
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253

from sort_assets.config import RecordingConfig
from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.makers_clocks import clock_from_blocks
from sort_assets.recordings.formats.reading import (
    COPY_AGAIN,
    MIN_SORTABLE_RATE_HZ,
    NOT_UNDERSTOOD,
    choose_stream,
    clock_readable,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.formats.stated_numbers import stated_rate

WIDE_BAND, FILTERED = "WB", "SPKC"
AUXILIARY = ("AI", "AIF")
_BLOCK = struct.Struct("<HHIHHHH")
"""Type, the timestamp's upper byte, the timestamp, channel, unit, number of waveforms, words in each."""
_SAMPLES = 5
"""Type of the blocks with continuous samples."""
_PREFIX = re.compile(r"\D*")


@dataclass(frozen=True)
class Channel:
    """A continuous channel, and where its samples are.

    Attributes
    ----------
    name : str
    number : int
    rate_hz, gain_uv : float
    positions, ticks, counts : np.ndarray
        Of each of its blocks: the first byte of samples, the timestamp, the number of samples; int64.
    """

    name: str
    number: int
    rate_hz: float
    gain_uv: float
    positions: np.ndarray
    ticks: np.ndarray
    counts: np.ndarray

    @property
    def stream(self) -> str:
        """The prefix of its name."""
        match = _PREFIX.match(self.name)
        return (match.group().strip() if match else "") or self.name


def plexon_streams(path: Path) -> tuple[str, ...]:
    """Streams of electrodes at a sortable rate; the filtered copy of the wide band only where that is not there."""
    with readable(path):
        channels, _, _ = read_plexon(path)
    return _sortable(channels)


def open_plexon(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open the channels of one stream, in the order of the file.

    Raises
    ------
    StreamError
        When the stream does not exist or must be named, or none is fast enough.
    UnreadableRecordingError
        When the file is damaged or truncated, or its channels have different numbers of samples.
    """
    missing = Missing(config.accept_incomplete)
    with readable(path):
        channels, tick_hz, rest_bytes = read_plexon(path)
        name = choose_stream(path, stream, _sortable(channels))
        if rest_bytes:
            missing.note(f"'{path}' is truncated: it ends in the middle of a block of samples.")
        recording = PlexonRecording(path, name, channels)
        counts = {int(channel.counts.sum()) for channel in recording.channels}
        if len(counts) > 1:
            missing.note(
                f"The channels of '{path}' have different numbers of samples, from {min(counts)} to {max(counts)}."
            )
        rate_hz = stated_rate(float(recording.sampling_frequency), "ADFreq", path)
    read_first_and_last_sample(recording, path)
    first, num_samples = recording.channels[0], recording.get_num_samples()
    with readable(path), clock_readable(path):
        clock = clock_from_blocks(first.ticks / tick_hz, first.counts, rate_hz).cut(0, num_samples)
    recording.shift_times(clock.start_time_s)
    annotate_clocks(recording, [clock])
    missing.annotate(recording)
    return recording


class PlexonRecording(BaseRecording):  # type: ignore[misc]
    """The continuous channels of one prefix.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process.

    Parameters
    ----------
    file_path : str or Path
    stream_id : str
        The prefix.
    channels : list of Channel or None
        From `read_plexon`; None reads them.
    """

    def __init__(self, file_path: str | Path, stream_id: str, channels: list[Channel] | None = None) -> None:
        file_path = Path(file_path).absolute()
        channels = read_plexon(file_path)[0] if channels is None else channels
        self.channels = [channel for channel in channels if channel.stream == stream_id]
        rates_hz = {channel.rate_hz for channel in self.channels}
        if len(rates_hz) != 1:
            raise UnreadableRecordingError(
                f"The channels {stream_id} of '{file_path}' have different sampling rates.",
                remedy="Export the channels of one rate to a file of their own in Plexon's Offline Sorter.",
            )
        BaseRecording.__init__(self, rates_hz.pop(), [channel.name for channel in self.channels], "int16")
        self.add_recording_segment(_PlexonSegment(file_path, self.channels))
        self.set_channel_gains([channel.gain_uv for channel in self.channels])
        self.set_channel_offsets(0.0)
        self._kwargs = {"file_path": str(file_path), "stream_id": stream_id}


class _PlexonSegment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(self, file_path: Path, channels: list[Channel]) -> None:
        BaseRecordingSegment.__init__(self, sampling_frequency=channels[0].rate_hz, t_start=None)
        self._bytes = np.asarray(np.memmap(file_path, np.uint8, mode="r"))
        self._channels = channels
        self._ends = [np.cumsum(channel.counts) for channel in channels]

    def get_num_samples(self) -> int:
        return int(min(ends[-1] for ends in self._ends))

    def get_traces(self, start_frame: int, end_frame: int, channel_indices: Any = None) -> np.ndarray:
        indices = range(len(self._channels))[channel_indices] if isinstance(channel_indices, slice) else channel_indices
        chosen = range(len(self._channels)) if indices is None else indices
        traces = np.empty((end_frame - start_frame, len(chosen)), "int16")
        for column, index in enumerate(chosen):
            traces[:, column] = self._read(int(index), start_frame, end_frame)
        return traces

    def _read(self, index: int, start: int, end: int) -> np.ndarray:
        channel, ends = self._channels[index], self._ends[index]
        first, last = np.searchsorted(ends, [start, end - 1], side="right")
        blocks = [
            self._bytes[position : position + 2 * count].view("<i2")
            for position, count in zip(
                channel.positions[first : last + 1].tolist(), channel.counts[first : last + 1].tolist(), strict=True
            )
        ]
        before = int(ends[first] - channel.counts[first])
        return np.concatenate(blocks)[start - before : end - before] if start < end else np.empty(0, "int16")


def read_plexon(path: Path) -> tuple[list[Channel], float, int]:
    """Read the header of a file, and walk through its blocks.

    Returns
    -------
    channels : list of Channel
        Those that have samples, in the order of the header.
    tick_hz : float
        Of the timestamps.
    rest_bytes : int
        Of a block that is not whole, at the end of the file.

    Raises
    ------
    UnreadableRecordingError
        When the file ends in its header, or a block is none.
    """
    with path.open("rb") as file:
        header = np.fromfile(file, GlobalHeader, 1)
        if not len(header):
            raise UnreadableRecordingError(f"'{path}' is truncated: its header is not complete.", remedy=COPY_AGAIN)
        header = header[0]
        counts = [int(header[name]) for name in ("NumDSPChannels", "NumEventChannels", "NumSlowChannels")]
        if min(counts) < 0:
            raise UnreadableRecordingError(
                f"'{path}' is damaged: its header states {min(counts)} channels.", remedy=NOT_UNDERSTOOD
            )
        file.seek(np.dtype(DspChannelHeader).itemsize * counts[0], 1)
        file.seek(np.dtype(EventChannelHeader).itemsize * counts[1], 1)
        described = np.fromfile(file, SlowChannelHeader, counts[2])
        if len(described) < counts[2]:
            raise UnreadableRecordingError(f"'{path}' is truncated: its header is not complete.", remedy=COPY_AGAIN)
        index, rest_bytes = _walk(path, file.fileno(), file.tell(), described["Channel"].tolist())
    channels = []
    for one in described:
        positions, ticks, samples = (np.array(values, dtype=np.int64) for values in index[int(one["Channel"])])
        if len(samples):
            name = one["Name"].split(b"\0")[0].decode("utf-8", errors="replace")
            gain = _gain_to_uv(header, one)
            channels.append(Channel(name, int(one["Channel"]), float(one["ADFreq"]), gain, positions, ticks, samples))
    return channels, float(header["ADFrequency"]), rest_bytes


def _walk(
    path: Path, descriptor: int, start: int, numbers: list[int]
) -> tuple[dict[int, tuple[array[int], array[int], array[int]]], int]:
    index = {number: (array("q"), array("q"), array("q")) for number in numbers}
    size, position, unpack = path.stat().st_size, start, _BLOCK.unpack_from
    if size <= start:
        return index, 0
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        while position + _BLOCK.size <= size:
            kind, upper, tick, number, _, waveforms, words = unpack(data, position)
            if kind not in (1, 4, _SAMPLES) or (kind == _SAMPLES and number not in index):
                raise UnreadableRecordingError(
                    f"'{path}' is damaged: at byte {position}, where a block should begin, none does.",
                    remedy=NOT_UNDERSTOOD,
                )
            end = position + _BLOCK.size + 2 * waveforms * words
            if end > size:
                break
            if kind == _SAMPLES and waveforms * words:
                positions, ticks, counts = index[number]
                positions.append(position + _BLOCK.size)
                ticks.append((upper << 32) + tick)
                counts.append(waveforms * words)
            position = end
    return index, size - position


def _gain_to_uv(header: Any, channel: Any) -> float:
    """From "Plexon data file structure" (SDK): millivolts of a count at the electrode, in microvolts."""
    version, gain, preamp = int(header["Version"]), float(channel["Gain"]), float(channel["PreampGain"])
    if version < 102:
        preamp = 1000.0
    full_scale_mv, half_range = (5000.0, 2048.0)
    if version >= 103:
        full_scale_mv, half_range = float(header["SlowMaxMagnitudeMV"]), 0.5 * 2.0 ** int(header["BitsPerSlowSample"])
    return 1e3 * full_scale_mv / (half_range * gain * preamp) if gain and preamp else float("nan")


def _sortable(channels: list[Channel]) -> tuple[str, ...]:
    names = dict.fromkeys(channel.stream for channel in channels if channel.rate_hz >= MIN_SORTABLE_RATE_HZ)
    return tuple(name for name in names if name not in AUXILIARY and not (name == FILTERED and WIDE_BAND in names))
