"""SpikeInterface's way of finding bad channels, "coherence+psd" (International Brain Laboratory 2022), at less cost.

Channels are labelled in each of 100 chunks at random times, and the label that most chunks give a channel is its own.
The labels are those of SpikeInterface 0.105.3, always:

- the comparison of a channel with its neighbours is computed by the same operations;
- the power at high frequencies, with which a threshold is compared, is computed for the frequencies that count only,
  in float32. A chunk in which a channel comes closer to the threshold than that can tell is left to SpikeInterface;
- the rest of the chunks is left out once it can't change any label: in most recordings, half of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from spikeinterface.core import BaseRecording

NEIGHBOURS = 11
"""Window, in channels, of the running median with which a channel's coherence is compared: SpikeInterface's default."""
NUM_CHUNKS = 100
GOOD, DEAD, NOISE, OUTSIDE = range(4)
"""SpikeInterface's numbers of the labels; of those that are as frequent, the smaller one is a channel's own."""
_MOST_POWER = 0.02
"""Mean power at high frequencies above which a channel is noisy, in microvolts squared per Hz."""
_WINDOW_S = 0.01
_HIGH_FREQUENCIES = 0.8
"""Begin at this part of half the sampling rate."""
_ROWS_COPIED = 256
_DEAD_BELOW, _NOISE_ABOVE, _OUTSIDE_BELOW = -0.5, 1.0, 0.25


class CoherenceLabels:
    """The labels of a group of channels, which are found chunk by chunk.

    Parameters
    ----------
    group : BaseRecording
        The channels, with locations.
    """

    def __init__(self, group: BaseRecording) -> None:
        from spikeinterface.core import order_channels_by_depth

        self._rate_hz = float(group.sampling_frequency)
        self._order, self._back = order_channels_by_depth(recording=group, dimensions=("x", "y"))
        self._is_ordered = bool(np.all(np.diff(self._order) == 1))
        self._counts = np.zeros((OUTSIDE + 1, group.get_num_channels()), dtype=int)
        self._left = NUM_CHUNKS

    @property
    def decided(self) -> bool:
        """Whether the chunks that are left can't change what is found."""
        return bool(self._is_certain().all())

    def of_chunk(self, traces: NDArray[np.float32]) -> NDArray[np.int64]:
        """Label the channels in a chunk.

        Parameters
        ----------
        traces : np.ndarray
            float32, in microvolts, shape (samples, channels); in the order in memory that SpikeInterface would have,
            by which its sums are rounded.
        """
        if self._is_ordered:
            return chunk_labels(traces, self._rate_hz)
        labels: NDArray[np.int64] = chunk_labels(traces[:, self._order], self._rate_hz)[self._back]
        return labels

    def add(self, of_chunk: NDArray[np.int64]) -> None:
        """Count the labels of one more chunk."""
        self._counts[of_chunk, np.arange(len(of_chunk))] += 1
        self._left -= 1

    def labels(self) -> NDArray[np.int64]:
        """Of each channel, the label that most chunks gave it. A good one may stand for one outside of the brain."""
        labels: NDArray[np.int64] = self._counts.argmax(axis=0)
        return labels

    def _is_certain(self) -> NDArray[np.bool_]:
        """Of each channel, whether it will be dead, noisy, or neither, whatever the chunks that are left show."""
        counts = self._counts

        def before(label: int, *others: int) -> NDArray[np.bool_]:
            ahead = [counts[label] >= counts[one] + self._left + (one < label) for one in others]
            certain: NDArray[np.bool_] = np.logical_and.reduce(ahead)
            return certain

        return (
            before(GOOD, DEAD, NOISE)
            | before(OUTSIDE, DEAD, NOISE)
            | before(DEAD, GOOD, NOISE, OUTSIDE)
            | before(NOISE, GOOD, DEAD, OUTSIDE)
        )


def chunk_labels(raw: NDArray[np.float32], rate_hz: float) -> NDArray[np.int64]:
    """What `detect_bad_channels_ibl` finds in one chunk.

    Parameters
    ----------
    raw : np.ndarray
        float32, in microvolts, shape (samples, channels), in the order of depth.
    rate_hz : float
        Sampling rate.

    Returns
    -------
    np.ndarray
        Shape (channels,).
    """
    from spikeinterface.preprocessing.detect_bad_channels import detect_bad_channels_ibl

    power = None
    if len(raw) >= _window_samples(rate_hz) and np.isfinite(raw).all():
        traces = raw - np.mean(raw, axis=0, keepdims=True)
        power = _high_frequency_power(traces, rate_hz)
    if power is None:
        labels: NDArray[np.int64] = detect_bad_channels_ibl(
            raw, fs=rate_hz, psd_hf_threshold=_MOST_POWER, n_neighbors=NEIGHBOURS
        )
        return labels
    # The operations of detect_bad_channels_ibl, also in the order of their sums.
    reference = _medians(traces)
    reference = reference - np.mean(reference)
    with np.errstate(invalid="ignore", divide="ignore"):  # Of a silent chunk, in which nothing is found.
        coherence = traces.T @ reference / np.sum(reference**2)
    trend = _running_median(coherence)
    difference = coherence - trend
    labels = np.zeros(traces.shape[1], dtype=np.int64)
    labels[difference < _DEAD_BELOW] = DEAD
    labels[(power > _MOST_POWER) | (difference > _NOISE_ABOVE)] = NOISE
    inside = np.flatnonzero(~(trend < _OUTSIDE_BELOW))
    labels[inside[-1] + 1 if len(inside) else 0 :] = OUTSIDE
    return labels


def _window_samples(rate_hz: float) -> int:
    return int(1000 * _WINDOW_S * rate_hz / 1000)


@cache
def _transform(rate_hz: float) -> tuple[NDArray[np.float32], int]:
    """What a window is multiplied by to give its amplitudes at high frequencies, and the step between windows.

    The amplitudes' squares are the power of Welch's method: Hann's window, less the mean. Shape (two for each
    frequency, samples).
    """
    from scipy.signal import get_window

    samples = _window_samples(rate_hz)
    window = get_window("hann", samples)
    frequencies = np.fft.rfftfreq(samples, 1 / rate_hz)
    wanted = np.flatnonzero(frequencies > rate_hz / 2 * _HIGH_FREQUENCIES)
    sides = np.where(2 * wanted == samples, 1.0, 2.0)
    waves = np.exp(2j * np.pi / samples * np.outer(wanted, np.arange(samples)))
    waves *= window * np.sqrt(sides / (rate_hz * np.sum(window**2) * len(wanted)))[:, np.newaxis]
    waves -= waves.mean(axis=1, keepdims=True)
    return np.concatenate([waves.real, waves.imag]).astype(np.float32), samples - samples // 2


def _high_frequency_power(traces: NDArray[np.float32], rate_hz: float) -> NDArray[np.float32] | None:
    """Mean power of each channel at high frequencies; None where one can't be told from the threshold."""
    transform, step = _transform(rate_hz)
    samples = transform.shape[1]
    power = np.zeros(traces.shape[1], dtype=np.float32)
    starts = range(0, len(traces) - samples + 1, step)
    for start in starts:
        amplitudes = transform @ traces[start : start + samples]
        power += np.einsum("ij,ij->j", amplitudes, amplitudes)
    power /= len(starts)
    # Sums of `samples` terms in float32 are off by at most samples / 2**24 of their size; a thousandth of that was the
    # most that was seen.
    amplitude = np.sqrt(np.einsum("ij,ij->j", traces, traces) / len(traces))
    uncertain = 1e-3 * np.sqrt(_MOST_POWER) + samples * 2.0**-24 * amplitude
    is_clear = np.abs(np.sqrt(power) - np.sqrt(_MOST_POWER)) > uncertain
    return power if is_clear.all() else None


def _medians(traces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Medians over channels, as numpy gives them."""
    from sort_assets.recordings.block_passes import channel_medians
    from sort_assets.recordings.channel_lanes import LANES

    medians: NDArray[np.float32]
    if traces.shape[1] < LANES:
        medians = np.median(traces, axis=1)
        return medians
    # In pieces, as a piece of each channel is copied beside those of the others.
    pieces = [traces[start : start + _ROWS_COPIED] for start in range(0, len(traces), _ROWS_COPIED)]
    medians = np.concatenate([channel_medians(np.ascontiguousarray(piece)) for piece in pieces])
    return medians


def _running_median(values: NDArray[Any]) -> NDArray[Any]:
    """SpikeInterface's `shrinking_median_filter`: fewer neighbours at the ends."""
    half = NEIGHBOURS // 2
    windows = np.lib.stride_tricks.sliding_window_view(values, NEIGHBOURS)
    medians = [np.median(values[: at + half + 1]) for at in range(half)]
    medians += list(np.median(windows, axis=1))
    medians += [np.median(values[at - half :]) for at in range(len(values) - half, len(values))]
    return np.array(medians, dtype=values.dtype)
