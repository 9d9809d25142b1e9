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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253
from spikeinterface.core.channelslice import ChannelSliceRecordingSegment  # noqa: TID253
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment  # noqa: TID253
from spikeinterface.preprocessing.normalize_scale import ScaleRecordingSegment  # noqa: TID253

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SAMPLES = 8192
"""Samples of a channel that are filtered as one piece, with a margin before and after it."""
LOWEST_HZ = 100.0
"""Below it, SpikeInterface refuses a band-pass that is computed in pieces, and float32 would not do."""
_ORDER = 5
_PERIODS_OF_MARGIN = 5
_KAISER_BETA = 9.0
_FEWEST_CHANNELS = 16
_MOST_BYTES_READ = 32_000_000
_READ_AS_THEY_ARE = (np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.float32))


@dataclass(frozen=True)
class BandPassDesign:
    """A Butterworth band-pass of order 5 for arithmetic in float32.

    Its ten poles are five pairs: the two lowest are high-passes, the middle one is a band-pass, the two highest are
    low-passes. Poles near a frequency of zero lose their place in a polynomial's float32 coefficients; as state
    variable filters (H. Chamberlin, Musical Applications of Microprocessors, 1985) they keep it.

    Attributes
    ----------
    sections : tuple of float
        Step and damping of the high-passes and of the band-pass, then the two denominator coefficients of each
        low-pass.
    gain : float
        By which one pass over the signal has to be multiplied.
    """

    sections: tuple[float, ...]
    gain: float


def design_band_pass(sampling_frequency: float, freq_min: float, freq_max: float) -> BandPassDesign:
    """Design the band-pass.

    Parameters
    ----------
    sampling_frequency, freq_min, freq_max : float
        In Hz; the edges between 0 and half the sampling rate.
    """
    from scipy.signal import butter

    _, poles, gain = butter(_ORDER, [freq_min, freq_max], fs=sampling_frequency, btype="bandpass", output="zpk")
    upper = poles[poles.imag > 0]
    pairs = [(-2 * pole.real, abs(pole) ** 2) for pole in upper[np.argsort(np.angle(upper))]]
    real = poles[poles.imag == 0].real
    if len(real):  # A wide band: the middle pair is two poles on the real axis.
        pairs.insert(2, (-real.sum(), real.prod()))
    state_variable = [(1 + a1 + a2, (1 - a2) / (1 + a1 + a2)) for a1, a2 in pairs[:3]]
    sections = tuple(float(number) for pair in (*state_variable, *pairs[3:]) for number in pair)
    return BandPassDesign(sections, float(gain / state_variable[2][0]))


def margin_samples(sampling_frequency: float, freq_min: float) -> int:
    """Samples that are filtered before and after a piece and thrown away: SpikeInterface's five periods."""
    return int(_PERIODS_OF_MARGIN * (1000.0 / freq_min) * sampling_frequency / 1000.0)


def is_supported(sampling_frequency: float, freq_min: float, freq_max: float) -> bool:
    """Whether float32 and blocks do for a band: SpikeInterface's own band-pass takes the others."""
    from sort_assets.recordings.band_pass_kernel import PAD

    margin = margin_samples(sampling_frequency, freq_min)
    return LOWEST_HZ <= freq_min < freq_max < sampling_frequency / 2 and PAD < margin <= BLOCK_SAMPLES


def can_shift(sample_shifts: NDArray[Any], sampling_frequency: float, freq_max: float) -> bool:
    """Whether channels can be moved by parts of a sample, in the same pass.

    Parameters
    ----------
    sample_shifts : np.ndarray
        In samples, by channel.
    sampling_frequency, freq_max : float
        In Hz. What a band-pass leaves above 0.4 times the sampling rate is not interpolated well.
    """
    return bool(np.all((sample_shifts >= 0) & (sample_shifts < 1))) and freq_max <= sampling_frequency / 4


def shift_taps(sample_shifts: NDArray[Any]) -> NDArray[np.float32]:
    """Weights of the samples around a moment that lies a part of a sample before one of them.

    Parameters
    ----------
    sample_shifts : np.ndarray
        In samples, between 0 and 1, by channel.

    Returns
    -------
    np.ndarray
        Shape (taps, channels): a sinc with Kaiser's window, whose errors are below 1e-5 up to 0.4 times the sampling
        rate.
    """
    from sort_assets.recordings.band_pass_kernel import TAPS

    half = TAPS // 2
    places = np.arange(-half, half)[:, np.newaxis] + np.asarray(sample_shifts, dtype=np.float64)
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (places / half) ** 2, 0, None))) / np.i0(_KAISER_BETA)
    return (np.sinc(places) * window).astype(np.float32)


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
        scale = np.ascontiguousarray(self._scale[channels])
        columns = self._columns[channels]
        traces = np.empty((max(0, end - start), len(columns)), dtype=np.float32 if count is None else np.int16)
        if not traces.size:
            return traces, 0.0, True
        taps = None if self._taps is None else self._taps[:, channels]
        kernel = _Kernel(self._sections, scale, taps, count, limit)
        for first, last in self._pieces(start, end):
            low, high = max(0, first - self._margin), min(self.get_num_samples(), last + self._margin)
            source = _readable(self._source.get_traces(low, high, slice(None)), columns)
            for block in range(first, last, BLOCK_SAMPLES):
                block_end = min(block + BLOCK_SAMPLES, self.get_num_samples())
                begin, stop = max(0, block - self._margin), min(self.get_num_samples(), block_end + self._margin)
                kept = max(start, block), min(end, block_end)
                kernel.filter(
                    source[begin - low : stop - low], kept[0] - begin, traces[kept[0] - start : kept[1] - start]
                )
        return traces, kernel.peak, kernel.finite

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


class _Kernel:
    """The compiled filter with its work space, and what it has seen."""

    def __init__(
        self,
        sections: tuple[np.float32, ...],
        scale: NDArray[np.float32],
        taps: NDArray[np.float32] | None,
        count: float | None,
        limit: int,
    ) -> None:
        from sort_assets.recordings import band_pass_kernel

        self._compiled = band_pass_kernel
        self._sections = sections
        self._count, self._limit = np.float32(1.0 if count is None else count), np.float32(limit)
        self._num_channels = len(scale)
        missing = max(0, _FEWEST_CHANNELS - len(scale))
        self._scale = np.pad(scale, (0, missing)) if missing else scale
        self._taps = None if taps is None else _by_lanes(np.pad(taps, ((0, 0), (0, missing))))
        self._work = np.empty(0, dtype=np.float32)
        self._seen = np.zeros((2, band_pass_kernel.LANES), dtype=np.float32)

    @property
    def peak(self) -> float:
        return float(self._seen[0].max())

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self._seen[1]).all())

    def filter(self, source: NDArray[Any], skipped: int, target: NDArray[Any]) -> None:
        """Filter a block with its margins, of which `skipped` samples come before the first one in `target`."""
        compiled = self._compiled
        rows = len(source)
        if rows <= compiled.PAD:
            raise ValueError(
                f"the recording has {rows} samples of each channel; a band-pass needs more than {compiled.PAD}"
            )
        needed = 2 * (rows + 2 * compiled.PAD) * compiled.LANES
        if len(self._work) < needed:
            self._work = np.empty(needed, dtype=np.float32)
        result = target
        if self._num_channels < compiled.LANES:
            result = np.empty((len(target), compiled.LANES), dtype=target.dtype)
        compiled.filter_block(
            source.dtype.type(0),
            source.ctypes.data,
            source.strides[0],
            rows,
            len(self._scale),
            self._scale.ctypes.data,
            self._sections,
            target.dtype.type(0),
            result.ctypes.data,
            result.strides[0],
            skipped,
            len(target),
            self._count,
            self._limit,
            0 if self._taps is None else self._taps.ctypes.data,
            self._work.ctypes.data,
            self._seen.ctypes.data,
        )
        if result is not target:
            target[:] = result[:, : self._num_channels]


def _by_lanes(taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shape (groups, taps, channels of a group); the last group are the last channels, also where some are in two."""
    num_channels = taps.shape[1]
    starts = [min(start, num_channels - _FEWEST_CHANNELS) for start in range(0, num_channels, _FEWEST_CHANNELS)]
    return np.ascontiguousarray(np.stack([taps[:, start : start + _FEWEST_CHANNELS] for start in starts]))


def compile_kernels() -> None:
    """Compile what the usual sample types need, so that no run of a fresh installation has to."""
    from sort_assets.recordings.band_pass_kernel import LANES, PAD

    sections = tuple(np.float32(number) for number in design_band_pass(30_000.0, 300.0, 6000.0).sections)
    for source_type in _READ_AS_THEY_ARE:
        for target_type, count in ((np.int16, 1.0), (np.float32, None)):
            kernel = _Kernel(sections, np.ones(LANES, dtype=np.float32), None, count, 1)
            kernel.filter(np.zeros((PAD + 1, LANES), source_type), 0, np.zeros((1, LANES), target_type))
    round_to_counts(np.zeros(LANES, dtype=np.float32), 1.0, 1)


def round_to_counts(values: NDArray[np.float32], count: float, limit: int) -> tuple[NDArray[np.int16], float, bool]:
    """Round values to int16, and look at them, in one pass.

    Parameters
    ----------
    values : np.ndarray
        float32, any shape, C order.
    count, limit
        As for `BandPassSegment.read`.

    Returns
    -------
    counts : np.ndarray
        int16, of the same shape.
    peak : float
        Largest absolute value before rounding.
    finite : bool
        Whether no value is NaN or infinite.
    """
    from sort_assets.recordings.band_pass_kernel import LANES, round_block

    counts = np.empty(values.shape, dtype=np.int16)
    seen = np.zeros((2, LANES), dtype=np.float32)

    def look(source: NDArray[np.float32], target: NDArray[np.int16]) -> None:
        size, largest = np.float32(count), np.float32(limit)
        round_block(source.ctypes.data, source.size // LANES, target.ctypes.data, size, largest, seen.ctypes.data)

    look(values, counts)
    rest = values.size % LANES
    if rest:
        last, last_counts = np.zeros(LANES, dtype=np.float32), np.empty(LANES, dtype=np.int16)
        last[:rest] = values.reshape(-1)[-rest:]
        look(last, last_counts)
        counts.reshape(-1)[-rest:] = last_counts[:rest]
    return counts, float(seen[0].max()), bool(np.isfinite(seen[1]).all())


def band_pass_segment(recording: BaseRecording) -> tuple[BandPassSegment, NDArray[np.int64]] | None:
    """The band-pass that a recording of one segment ends with, and which of its channels the recording has."""
    if recording.get_num_segments() != 1:
        return None
    segment, columns = recording.segments[0], np.arange(recording.get_num_channels())
    while isinstance(segment, ChannelSliceRecordingSegment):
        segment, columns = segment._parent_recording_segment, segment._parent_channel_indices[columns]
    return (segment, columns) if isinstance(segment, BandPassSegment) else None


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


def _readable(source: NDArray[Any], columns: NDArray[np.int64]) -> NDArray[Any]:
    """The columns side by side, of a type that the kernel reads, at least as many as it filters at a time."""
    first, last = int(columns[0]), int(columns[-1])
    if source.dtype not in _READ_AS_THEY_ARE:
        source = np.take(source, columns, axis=1).astype(np.float32)
    elif np.array_equal(columns, np.arange(first, last + 1)):
        source = source[:, first : last + 1]
    else:
        source = np.take(source, columns, axis=1)
    if source.shape[1] < _FEWEST_CHANNELS:
        wide = np.zeros((len(source), _FEWEST_CHANNELS), dtype=source.dtype)
        wide[:, : source.shape[1]] = source
        return wide
    return source if source.strides[1] == source.itemsize and source.strides[0] >= 0 else np.ascontiguousarray(source)
