"""Inspecting a recording by a few seconds of it: noise, peaks, constant channels, saturated channels.

Only sampled chunks are read, so that a recording of many hours takes no longer than one of a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import NonFiniteSamplesError, UnreadableRecordingError
from sort_assets.recordings.completeness import Missing

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

SMALLEST_CHANGE_UV = 1e-9
"""A channel that moves by less stands still. A band-pass leaves up to 1e-11 of a constant that is no voltage of any
amplifier (measured at 0.1 V); recordings in volts that are taken for microvolts still move by 1e-6."""
_NOTHING_RECORDED = "Compare it with the original, and copy it again if that holds more. If not, nothing was recorded."
_CHUNKS = 20
_CHUNK_S = 0.1
MAD_OF_UNIT_NORMAL = 0.6745
"""Median absolute deviation of normal noise with a standard deviation of 1."""
_PILE_UP = 2


@dataclass(frozen=True)
class SampledChannels:
    """What the sampled chunks show of each channel; all arrays have the shape (channels,).

    Attributes
    ----------
    channel_ids : np.ndarray
        As in the recording.
    num_samples : int
        How many samples of each channel were read.
    noise_uv : np.ndarray
        Median absolute deviation from the median over 0.6745: the standard deviation of normal noise.
    peak_uv : np.ndarray
        Largest absolute value.
    changes : np.ndarray
        Whether the channel moves by at least `SMALLEST_CHANGE_UV`.
    at_extreme : np.ndarray
        Share of the samples at the channel's largest or smallest value, whichever it holds more often, where values
        pile up as clipping makes them: at least twice as often as the next value inwards. 0 elsewhere.
    """

    channel_ids: np.ndarray
    num_samples: int
    noise_uv: np.ndarray
    peak_uv: np.ndarray
    changes: np.ndarray
    at_extreme: np.ndarray


@dataclass(frozen=True)
class FlatFile:
    """A flat binary file that a recording reads.

    Attributes
    ----------
    path : Path
    num_bytes : int
        Of samples, without a header.
    frame_bytes : int
        Of one sample of all channels.
    """

    path: Path
    num_bytes: int
    frame_bytes: int


def sample_channels(recording: BaseRecording, *, seed: int = 0) -> SampledChannels:
    """Read two seconds in chunks of a tenth, one at a random place in each twentieth of the recording.

    Takes about ten times these chunks in memory: 500 MB for 384 channels of float32 at 30 kHz.

    Parameters
    ----------
    recording : BaseRecording
        Single segment. Samples are assumed to be microvolts if the recording states no gain.
    seed : int
        Decides the places.

    Raises
    ------
    NonFiniteSamplesError
        When a sample in them is NaN or infinite.
    """
    chunks = []
    for start, end in _places(int(recording.get_num_samples()), recording.sampling_frequency, seed):
        traces = recording.get_traces(start_frame=start, end_frame=end)
        if traces.dtype.kind == "f" and not np.isfinite(traces).all():
            raise non_finite(recording, traces, start)
        chunks.append(traces)
    # A row for each channel: medians along rows read memory in order.
    samples = np.ascontiguousarray(np.concatenate(chunks).T)
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    gains = np.ones(len(samples)) if gains is None else np.asarray(gains, dtype=float)
    offsets = np.zeros(len(samples)) if offsets is None else np.asarray(offsets, dtype=float)

    lowest, highest = samples.min(axis=1), samples.max(axis=1)
    spread = highest.astype(float) - lowest.astype(float)
    ends_uv = np.stack([lowest, highest]).astype(float) * gains + offsets
    middle = np.median(samples, axis=1).astype(np.float32)
    deviation = np.median(np.abs(samples - middle[:, None]), axis=1)
    return SampledChannels(
        channel_ids=recording.channel_ids,
        num_samples=samples.shape[1],
        noise_uv=deviation * np.abs(gains) / MAD_OF_UNIT_NORMAL,
        peak_uv=np.abs(ends_uv).max(axis=0),
        changes=spread * np.abs(gains) >= SMALLEST_CHANGE_UV,
        at_extreme=np.maximum(
            _piled_up(samples, highest, lowest, nearest=np.max), _piled_up(samples, lowest, highest, nearest=np.min)
        ),
    )


def non_finite(recording: BaseRecording, traces: np.ndarray, start: int) -> NonFiniteSamplesError:
    """The error that names the place of the first NaN or infinite value.

    Parameters
    ----------
    recording : BaseRecording
    traces : np.ndarray
        Samples with such a value, shape (samples, channels).
    start : int
        The recording's sample in the first row.
    """
    sample, channel = (int(index) for index in np.argwhere(~np.isfinite(traces))[0])
    channel_id = str(recording.channel_ids[channel])
    time_s = (start + sample) / float(recording.sampling_frequency)
    return NonFiniteSamplesError(
        f"The recording holds NaN or infinite values, first on channel {channel_id} at {time_s:.3f} s.",
        remedy="Cut that part out with recording.start_s and recording.end_s, drop the channel with bad_channel_ids, "
        "or repair the file.",
        channel=channel_id,
        time_s=time_s,
    )


def flat_files(recording: BaseRecording) -> list[FlatFile]:
    """The flat binary files that a recording reads, through all steps; none of other formats."""
    from spikeinterface.core import BinaryRecordingExtractor

    return [
        FlatFile(
            path=Path(path),
            num_bytes=Path(path).stat().st_size - int(description["file_offset"]),
            frame_bytes=one.get_num_channels() * one.dtype.itemsize,
        )
        for one in _sources(recording)
        if isinstance(one, BinaryRecordingExtractor)
        for description in [one.get_binary_description()]
        for path in description["file_paths"]
    ]


def check_flat_files(recording: BaseRecording, missing: Missing | None = None) -> list[FlatFile]:
    """Check that the flat binary files that a recording reads end with a whole sample of all channels.

    SpikeInterface (up to 0.105.3) silently reads a file with the wrong number of channels as noise, and cuts off an
    incomplete end.

    Parameters
    ----------
    recording : BaseRecording
    missing : Missing or None
        Notes the files that do not; None refuses them.

    Returns
    -------
    list of FlatFile
        The files that were checked.

    Raises
    ------
    UnreadableRecordingError
        When one does not, and that is not accepted.
    """
    missing = missing or Missing(accepted=False)
    files = flat_files(recording)
    for file in files:
        if file.num_bytes <= 0:
            raise UnreadableRecordingError(f"'{file.path}' holds no samples.", remedy=_NOTHING_RECORDED)
        if file.num_bytes % file.frame_bytes:
            missing.note(
                f"'{file.path}' has {file.num_bytes} bytes of samples, which is not a whole number of samples of "
                f"{file.frame_bytes} bytes each (all channels): it is truncated, or has another number of channels."
            )
    return files


def _places(num_samples: int, rate_hz: float, seed: int) -> Iterator[tuple[int, int]]:
    """Where to look: the first and the last sample of each chunk."""
    length = max(1, int(_CHUNK_S * rate_hz))
    if num_samples <= _CHUNKS * length:
        yield 0, num_samples
        return
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, num_samples, _CHUNKS + 1).astype(int)
    for first, after in pairwise(edges):
        start = int(rng.integers(first, after - length + 1))
        yield start, start + length


def _piled_up(
    samples: np.ndarray, end: np.ndarray, other_end: np.ndarray, *, nearest: Callable[..., np.ndarray]
) -> np.ndarray:
    """Share of each channel's samples at one end of its range; 0 where values become rarer towards it."""
    at_end = samples == end[:, None]
    count = at_end.sum(axis=1)
    inner = np.where(at_end, other_end[:, None], samples)
    next_value = nearest(inner, axis=1)
    next_count = (inner == next_value[:, None]).sum(axis=1)
    # Of only two values, the next one inwards is the other end, which stands for the first in `inner` as well.
    next_count = np.where(next_value == other_end, next_count - count, next_count)
    piled = (count >= _PILE_UP * next_count) & (end != other_end)
    return np.where(piled, count / samples.shape[1], 0.0)


def _sources(recording: BaseRecording) -> Iterator[BaseRecording]:
    """The recordings at the beginning of all chains that end in this one."""
    from spikeinterface.core import BaseRecording as Recording

    parents = []
    for value in recording._kwargs.values():
        several = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        parents += [one for one in several if isinstance(one, Recording)]
    if not parents:
        yield recording
    for parent in parents:
        yield from _sources(parent)
