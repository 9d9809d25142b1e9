"""SpikeInterface's band-pass in float32, many times as fast, as a preprocessor that stands in any chain.

The same filter as `spikeinterface.preprocessing.bandpass_filter`: Butterworth of order 5, forward and backward, with
the same margin and the same ends. Scaling to microvolts before it and rounding to counts after it are done in the same
pass.

A recursive filter's result depends, in its last digits, on where it begins. So it always begins at multiples of
`BLOCK_SAMPLES`, whatever samples are asked for: what is read does not depend on the chunks in which it is read, nor on
threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253
from spikeinterface.core.channelslice import ChannelSliceRecordingSegment  # noqa: TID253
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment  # noqa: TID253
from spikeinterface.preprocessing.normalize_scale import ScaleRecordingSegment  # noqa: TID253

from sort_assets.recordings.band_pass_design import (
    BLOCK_SAMPLES,
    BandPassDesign,
    can_shift,
    design_band_pass,
    is_supported,
    margin_samples,
    shift_taps,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_BYTES_READ = 32_000_000
_PARENTS = ("parent_recording_segment", "_parent_recording_segment", "_parent")
"""What SpikeInterface's segments, and those of this project, call the one of which they are made."""


class BandPassRecording(BasePreprocessor):  # type: ignore[misc]
    """A recording, band-pass filtered; always float32, in the units of its parent.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process.

    Parameters
    ----------
    recording : BaseRecording
        Of any type and number of segments. Where it is a scaled one, or some channels of it, the samples before the
        scaling are read, and scaled in the same pass.
    freq_min, freq_max : float
        Edges in Hz, for which `is_supported` is true.
    sample_shifts : sequence of float or None
        By how many samples each channel was sampled later than the first one, as SpikeInterface's property
        "inter_sample_shift" says; its `phase_shift` is then done in the same pass. None moves no channel.

    Raises
    ------
    ValueError
        When the band, or such shifts with it, is not supported.
    """

    def __init__(
        self,
        recording: BaseRecording,
        freq_min: float = 300.0,
        freq_max: float = 6000.0,
        sample_shifts: Sequence[float] | None = None,
    ) -> None:
        rate_hz = float(recording.sampling_frequency)
        if not is_supported(rate_hz, freq_min, freq_max):
            raise ValueError(
                f"a band of {freq_min:g} to {freq_max:g} Hz at {rate_hz:g} Hz can't be filtered in float32: use "
                "SpikeInterface's bandpass_filter"
            )
        shifts = None if sample_shifts is None else np.asarray(sample_shifts, dtype=np.float64)
        if shifts is not None and not can_shift(shifts, rate_hz, freq_max):
            raise ValueError(
                f"channels can't be shifted in the same pass at {freq_max:g} Hz: use SpikeInterface's phase_shift"
            )
        super().__init__(recording, dtype="float32")
        self.annotate(is_filtered=True)
        if "offset_to_uV" in self.get_property_keys():
            self.set_channel_offsets(0)
        design = design_band_pass(rate_hz, freq_min, freq_max)
        margin = margin_samples(rate_hz, freq_min)
        for segment in recording.segments:
            self.add_recording_segment(BandPassSegment(segment, recording.get_num_channels(), design, margin, shifts))
        self._kwargs = {
            "recording": recording,
            "freq_min": float(freq_min),
            "freq_max": float(freq_max),
            "sample_shifts": None if shifts is None else shifts.tolist(),
        }


class BandPassSegment(BasePreprocessorSegment):  # type: ignore[misc]
    """A segment of a `BandPassRecording`.

    Parameters
    ----------
    parent : BaseRecordingSegment
        What is filtered.
    num_channels : int
        Of the parent.
    design : BandPassDesign
    margin : int
        As `margin_samples` gives it.
    sample_shifts : np.ndarray or None
        As for `BandPassRecording`.
    """

    def __init__(
        self,
        parent: BaseRecordingSegment,
        num_channels: int,
        design: BandPassDesign,
        margin: int,
        sample_shifts: NDArray[np.float64] | None,
    ) -> None:
        super().__init__(parent)
        self._taps = None if sample_shifts is None else shift_taps(sample_shifts)
        self._margin = margin
        self._sections = tuple(np.float32(number) for number in design.sections)
        self._source, self._columns, gains = _unscaled(parent, num_channels)
        # Forward and backward: the gain of the design counts twice.
        self._scale = (gains * design.gain**2).astype(np.float32)

    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> NDArray[np.float32]:
        """Filtered samples, as SpikeInterface asks for them."""
        start = start_frame or 0
        end = self.get_num_samples() if end_frame is None else end_frame
        traces, _, _ = self.read(start, end, slice(None) if channel_indices is None else channel_indices)
        return traces

    def read(
        self, start: int, end: int, channels: NDArray[Any] | slice, count: float | None = None, limit: int = 0
    ) -> tuple[NDArray[Any], float, bool]:
        """Filter a range of samples.

        Parameters
        ----------
        start, end : int
            Half-open range of samples.
        channels : np.ndarray or slice
            Indices of the channels.
        count : float or None
            Size of a count of the result, in units of the filtered recording; None leaves float32 as it is.
        limit : int
            Largest count: values beyond are clipped.

        Returns
        -------
        traces : np.ndarray
            Shape (samples, channels): float32, or int16 counts.
        peak : float
            Largest absolute value before rounding.
        finite : bool
            Whether no value is NaN or infinite.
        """
        from sort_assets.recordings.block_passes import BandPass, readable

        scale = np.ascontiguousarray(self._scale[channels])
        columns = self._columns[channels]
        traces = np.empty((max(0, end - start), len(columns)), dtype=np.float32 if count is None else np.int16)
        if not traces.size:
            return traces, 0.0, True
        taps = None if self._taps is None else self._taps[:, channels]
        band_pass = BandPass(self._sections, scale, taps, count, limit)
        for first, last in self._pieces(start, end):
            low, high = max(0, first - self._margin), min(self.get_num_samples(), last + self._margin)
            source = readable(self._source.get_traces(low, high, slice(None)), columns)
            for block in range(first, last, BLOCK_SAMPLES):
                block_end = min(block + BLOCK_SAMPLES, self.get_num_samples())
                begin, stop = max(0, block - self._margin), min(self.get_num_samples(), block_end + self._margin)
                kept = max(start, block), min(end, block_end)
                band_pass.filter(
                    source[begin - low : stop - low], kept[0] - begin, traces[kept[0] - start : kept[1] - start]
                )
        return traces, band_pass.peak, band_pass.finite

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Ranges of whole blocks, each of which is read at once."""
        row_bytes = 4 * len(self._columns)
        blocks = max(1, _MOST_BYTES_READ // (row_bytes * BLOCK_SAMPLES))
        if isinstance(self._source, BasePreprocessorSegment):
            blocks = 1  # What another step makes of samples may depend on where it begins.
        first, step = start // BLOCK_SAMPLES * BLOCK_SAMPLES, blocks * BLOCK_SAMPLES
        grid_end = -(-end // BLOCK_SAMPLES) * BLOCK_SAMPLES
        for piece in range(first, grid_end, step):
            yield piece, min(piece + step, grid_end, self.get_num_samples())


def band_pass_segment(recording: BaseRecording) -> tuple[BandPassSegment, NDArray[np.int64]] | None:
    """The band-pass that a recording of one segment ends with, and which of its channels the recording has."""
    if recording.get_num_segments() != 1:
        return None
    segment, columns = recording.segments[0], np.arange(recording.get_num_channels())
    while isinstance(segment, ChannelSliceRecordingSegment):
        segment, columns = segment._parent_recording_segment, segment._parent_channel_indices[columns]
    return (segment, columns) if isinstance(segment, BandPassSegment) else None


def holds_band_pass(recording: BaseRecording) -> bool:
    """Whether a recording of one segment was made, step by step, of one with the band-pass."""
    (segment,) = recording.segments
    while segment is not None and not isinstance(segment, BandPassSegment):
        parents = (getattr(segment, name, None) for name in _PARENTS)
        segment = next((parent for parent in parents if parent is not None), None)
    return segment is not None


def _unscaled(
    segment: BaseRecordingSegment, num_channels: int
) -> tuple[BaseRecordingSegment, NDArray[np.int64], NDArray[np.float64]]:
    """What a segment scales, the columns of that which it has, and by how much it multiplies each.

    Offsets are left out: a band-pass does not see them.
    """
    columns, gains = np.arange(num_channels), np.ones(num_channels)
    is_scaled = False
    while True:
        if isinstance(segment, ChannelSliceRecordingSegment):
            segment, columns = segment._parent_recording_segment, segment._parent_channel_indices[columns]
        elif isinstance(segment, ScaleRecordingSegment) and not is_scaled and _is_exact(segment):
            gains, is_scaled = np.asarray(segment.gain, dtype=np.float64)[0, columns], True
            segment = segment.parent_recording_segment
        else:
            return segment, columns, gains


def _is_exact(segment: ScaleRecordingSegment) -> bool:
    """Whether a scaling does nothing but scale: it neither rounds nor makes values that are not finite."""
    return segment._dtype == np.float32 and bool(np.isfinite(segment.gain).all() and np.isfinite(segment.offset).all())
