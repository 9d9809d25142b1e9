"""What is compiled, for arrays: the band-pass of a block, the median over channels, and rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.recordings import band_pass_kernel as kernel
from sort_assets.recordings.band_pass_design import design_band_pass
from sort_assets.recordings.band_pass_kernel import PAD
from sort_assets.recordings.channel_lanes import LANES
from sort_assets.recordings.high_pass import high_pass

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READ_AS_THEY_ARE = (np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.float32))


class BandPass:
    """The compiled filter with its work space, and what it has seen.

    Parameters
    ----------
    sections : tuple of float32
        As `BandPassDesign.sections`.
    scale : np.ndarray
        By channel: by how much the samples have to be multiplied before they are filtered twice.
    taps : np.ndarray or None
        As `shift_taps` gives them.
    count : float or None
        Size of a count of the result; None leaves float32.
    limit : int
        Largest count.
    """

    def __init__(
        self,
        sections: tuple[np.float32, ...],
        scale: NDArray[np.float32],
        taps: NDArray[np.float32] | None,
        count: float | None,
        limit: int,
    ) -> None:
        self._sections = sections
        self._count, self._limit = np.float32(1.0 if count is None else count), np.float32(limit)
        self._num_channels = len(scale)
        missing = max(0, LANES - len(scale))
        self._scale = np.pad(scale, (0, missing)) if missing else scale
        self._taps = None if taps is None else _by_lanes(np.pad(taps, ((0, 0), (0, missing))))
        self._work = np.empty(0, dtype=np.float32)
        self._seen = np.zeros((2, LANES), dtype=np.float32)

    @property
    def peak(self) -> float:
        """Largest absolute value so far."""
        return float(self._seen[0].max())

    @property
    def finite(self) -> bool:
        """Whether no value so far was NaN or infinite."""
        return bool(np.isfinite(self._seen[1]).all())

    def filter(self, source: NDArray[Any], skipped: int, target: NDArray[Any]) -> None:
        """Filter a block with its margins, of which `skipped` samples come before the first one in `target`."""
        rows = len(source)
        if rows <= PAD:
            raise ValueError(f"the recording has {rows} samples of each channel; a band-pass needs more than {PAD}")
        needed = 2 * (rows + 2 * PAD) * LANES
        if len(self._work) < needed:
            self._work = np.empty(needed, dtype=np.float32)
        result = target
        if self._num_channels < LANES:
            result = np.empty((len(target), LANES), dtype=target.dtype)
        kernel.filter_block(
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
    starts = [min(start, num_channels - LANES) for start in range(0, num_channels, LANES)]
    return np.ascontiguousarray(np.stack([taps[:, start : start + LANES] for start in starts]))


def compile_kernels() -> None:
    """Compile what the usual sample types need, so that no run of a fresh installation has to."""
    sections = tuple(np.float32(number) for number in design_band_pass(30_000.0, 300.0, 6000.0).sections)
    for source_type in _READ_AS_THEY_ARE:
        for target_type, count in ((np.int16, 1.0), (np.float32, None)):
            band_pass = BandPass(sections, np.ones(LANES, dtype=np.float32), None, count, 1)
            band_pass.filter(np.zeros((PAD + 1, LANES), source_type), 0, np.zeros((1, LANES), target_type))
    round_to_counts(np.zeros(LANES, dtype=np.float32), 1.0, 1)
    subtract_median(np.zeros((1, LANES), dtype=np.float32))
    channel_medians(np.zeros((1, LANES), dtype=np.float32))
    high_pass(np.zeros((100, LANES), dtype=np.float32), 30_000.0, 300.0, 0, 1)


def subtract_median(traces: NDArray[np.float32]) -> None:
    """Subtract the median over channels from each sample, in place: what numpy's median gives, to the last bit.

    Parameters
    ----------
    traces : np.ndarray
        float32, shape (samples, channels), C order, at least 16 channels.
    """
    rows, channels = traces.shape
    mask = _mask(channels)  # By name, so that it lives until the kernel has read it.
    kernel.subtract_median(rows, channels, traces.ctypes.data, mask.ctypes.data)


def channel_medians(traces: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median over channels of each sample: what numpy gives for finite values, to the last bit.

    Parameters
    ----------
    traces : np.ndarray
        As for `subtract_median`.

    Returns
    -------
    np.ndarray
        float32, shape (samples,).
    """
    rows, channels = traces.shape
    medians = np.empty(rows, dtype=np.float32)
    mask = _mask(channels)  # As above.
    kernel.channel_medians(rows, channels, traces.ctypes.data, mask.ctypes.data, medians)
    return medians


def _mask(channels: int) -> NDArray[np.float32]:
    """NaN for those of the last channels that stand in two groups."""
    mask = np.zeros(LANES, dtype=np.float32)
    mask[: -channels % LANES] = np.nan
    return mask


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
    counts = np.empty(values.shape, dtype=np.int16)
    seen = np.zeros((2, LANES), dtype=np.float32)

    def look(source: NDArray[np.float32], target: NDArray[np.int16]) -> None:
        size, largest = np.float32(count), np.float32(limit)
        kernel.round_block(
            source.ctypes.data, source.size // LANES, target.ctypes.data, size, largest, seen.ctypes.data
        )

    look(values, counts)
    rest = values.size % LANES
    if rest:
        last, last_counts = np.zeros(LANES, dtype=np.float32), np.empty(LANES, dtype=np.int16)
        last[:rest] = values.reshape(-1)[-rest:]
        look(last, last_counts)
        counts.reshape(-1)[-rest:] = last_counts[:rest]
    return counts, float(seen[0].max()), bool(np.isfinite(seen[1]).all())


def readable(source: NDArray[Any], columns: NDArray[np.int64]) -> NDArray[Any]:
    """The columns side by side, of a type that the kernel reads, at least as many as it filters at a time."""
    first, last = int(columns[0]), int(columns[-1])
    if source.dtype not in _READ_AS_THEY_ARE:
        source = np.take(source, columns, axis=1).astype(np.float32)
    elif np.array_equal(columns, np.arange(first, last + 1)):
        source = source[:, first : last + 1]
    else:
        source = np.take(source, columns, axis=1)
    if source.shape[1] < LANES:
        wide = np.zeros((len(source), LANES), dtype=source.dtype)
        wide[:, : source.shape[1]] = source
        return wide
    return source if source.strides[1] == source.itemsize and source.strides[0] >= 0 else np.ascontiguousarray(source)
