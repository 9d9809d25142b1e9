"""The samples of a `.dat`, chunk by chunk: read, filtered, checked, and rounded to the counts of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sort_assets.recordings.inspection import non_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from spikeinterface.core import BaseRecording, BaseRecordingSegment

    from sort_assets.recordings.band_pass import BandPassSegment

INT16_MAX = int(np.iinfo(np.int16).max)
_REFERENCED_AT_A_TIME = 1024
"""Samples of all channels that stay in the cache while groups of channels are referenced."""


@dataclass(frozen=True)
class DatChunk:
    """A piece of a `.dat`.

    Attributes
    ----------
    end : int
        The sample after its last one.
    samples : np.ndarray
        As they are written, shape (samples, channels), C order.
    peak_uv : float
        Largest absolute value before rounding, in microvolts.
    """

    end: int
    samples: NDArray[Any]
    peak_uv: float


class DatChunks(Protocol):
    """Reads a recording in chunks; several threads may do so at a time."""

    @property
    def starts(self) -> range:
        """First samples of the chunks."""

    def read(self, start: int) -> DatChunk:
        """The chunk that starts at a sample.

        Raises
        ------
        NonFiniteSamplesError
            When it holds NaN or infinite values.
        """

    def peak_uv(self, start: int, end: int) -> float:
        """Largest absolute value in a range of samples, in microvolts; infinite where one is NaN or infinite."""


def dat_chunks(recording: BaseRecording, dtype: np.dtype[Any], gain: float, chunk_duration_s: float) -> DatChunks:
    """The chunks of a recording's `.dat`.

    Parameters
    ----------
    recording : BaseRecording
        Single segment, in microvolts.
    dtype : np.dtype
        int16, or float32, which stays in microvolts.
    gain : float
        Microvolts per count of int16. Values beyond the largest count are clipped; `DatChunk.peak_uv` tells.
    chunk_duration_s : float
        About how long a chunk is; it does not change what is written.
    """
    from sort_assets.recordings.band_pass import band_pass_segment, holds_band_pass
    from sort_assets.recordings.band_pass_design import BLOCK_SAMPLES

    chunk = max(1, int(chunk_duration_s * recording.sampling_frequency))
    if holds_band_pass(recording):
        # Whole blocks: one that a chunk ends in would be filtered for both chunks.
        chunk = -(-chunk // BLOCK_SAMPLES) * BLOCK_SAMPLES
    band_pass = band_pass_segment(recording)
    if band_pass is not None:
        return _BandPassChunks(recording, *band_pass, dtype, gain, chunk)
    return _AnyChunks(recording, dtype, gain, chunk)


class _BandPassChunks:
    """Of a recording that ends with the float32 band-pass, which rounds and checks in its own pass."""

    def __init__(
        self,
        recording: BaseRecording,
        segment: BandPassSegment,
        channels: NDArray[np.int64],
        dtype: np.dtype[Any],
        gain: float,
        chunk: int,
    ) -> None:
        self._recording, self._segment, self._channels = recording, segment, channels
        self._count = None if dtype == np.float32 else gain
        self._chunk = chunk
        self._num_samples = int(recording.get_num_samples())

    @property
    def starts(self) -> range:
        return range(0, self._num_samples, self._chunk)

    def read(self, start: int) -> DatChunk:
        end = min(start + self._chunk, self._num_samples)
        samples, peak, finite = self._segment.read(start, end, self._channels, self._count, INT16_MAX)
        if not finite:
            raise non_finite(self._recording, self._recording.get_traces(start_frame=start, end_frame=end), start)
        return DatChunk(end, samples, peak)

    def peak_uv(self, start: int, end: int) -> float:
        _, peak, finite = self._segment.read(start, end, self._channels)
        return peak if finite else np.inf


class _AnyChunks:
    def __init__(self, recording: BaseRecording, dtype: np.dtype[Any], gain: float, chunk: int) -> None:
        self._recording, self._dtype, self._gain, self._chunk = recording, dtype, gain, chunk
        self._num_samples = int(recording.get_num_samples())
        self._reference = _common_reference(recording)

    @property
    def starts(self) -> range:
        return range(0, self._num_samples, self._chunk)

    def read(self, start: int) -> DatChunk:
        from sort_assets.recordings.block_passes import round_to_counts

        end = min(start + self._chunk, self._num_samples)
        traces = self._traces_uv(start, end)
        # Also where the file is to hold microvolts: the counts are a by-product of looking.
        counts, peak, finite = round_to_counts(traces, self._gain, INT16_MAX)
        if not finite:
            raise non_finite(self._recording, traces, start)
        return DatChunk(end, traces if self._dtype == np.float32 else counts, peak)

    def peak_uv(self, start: int, end: int) -> float:
        from sort_assets.recordings.block_passes import round_to_counts

        _, peak, finite = round_to_counts(self._traces_uv(start, end), self._gain, INT16_MAX)
        return peak if finite else np.inf

    def _traces_uv(self, start: int, end: int) -> NDArray[np.float32]:
        if self._reference is None:
            return np.ascontiguousarray(self._recording.get_traces(start_frame=start, end_frame=end), dtype=np.float32)
        return self._reference.read(start, end)


@dataclass(frozen=True)
class _CommonReference:
    """The median over all channels, or the median or average over groups of them, which SpikeInterface subtracts.

    Attributes
    ----------
    parent : BaseRecordingSegment
        From which the reference is subtracted, float32.
    operator : {"median", "average"}
        Over the channels of a group.
    groups : list of np.ndarray
        Indices of their channels; each channel is in one of them.
    """

    parent: BaseRecordingSegment
    operator: str
    groups: list[NDArray[np.int64]]

    def read(self, start: int, end: int) -> NDArray[np.float32]:
        """Referenced samples: what SpikeInterface makes of them, to the last bit.

        The average of a single sample is summed as that of many, so that it does not depend on the chunks;
        SpikeInterface's may differ in its last bit.
        """
        from sort_assets.recordings.block_passes import subtract_median

        traces = np.array(self.parent.get_traces(start, end, slice(None)), dtype=np.float32, order="C")
        if len(self.groups) == 1 and self.operator == "median":
            subtract_median(traces)
            return traces
        for first in range(0, len(traces), _REFERENCED_AT_A_TIME):
            piece = traces[first : first + _REFERENCED_AT_A_TIME]
            for channels in self.groups:
                if self.operator == "median":
                    of_group = np.take(piece, channels, axis=1)
                    subtract_median(of_group)
                else:
                    of_group = piece[:, channels]
                    # Numpy sums a single row in another order.
                    summed = of_group if len(piece) > 1 else np.concatenate([piece, piece])[:, channels]
                    of_group -= np.mean(summed, axis=1, keepdims=True)[: len(piece)]
                piece[:, channels] = of_group
        return traces


def _common_reference(recording: BaseRecording) -> _CommonReference | None:
    """The last step of a recording, where that is a common reference of at least `LANES` channels each.

    The average of all channels is left to SpikeInterface, which takes it as fast.
    """
    from spikeinterface.preprocessing.common_reference import CommonReferenceRecordingSegment

    from sort_assets.recordings.channel_lanes import LANES

    (segment,) = recording.segments
    if (
        not isinstance(segment, CommonReferenceRecordingSegment)
        or segment.reference != "global"
        or segment.ref_channel_indices is not None
        or (segment.operator == "average" and segment.group_indices is None)
        or not recording.dtype == segment.parent_recording_segment.get_traces(0, 1, slice(None)).dtype == np.float32
    ):
        return None
    channels = np.arange(recording.get_num_channels())
    groups = [channels] if segment.group_indices is None else [np.asarray(group) for group in segment.group_indices]
    # SpikeInterface sets channels of no group to zero, and takes the last group of a channel that is in several.
    is_usual = min(map(len, groups)) >= LANES and np.array_equal(np.sort(np.concatenate(groups)), channels)
    return _CommonReference(segment.parent_recording_segment, segment.operator, groups) if is_usual else None
