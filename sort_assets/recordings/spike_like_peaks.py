"""The peaks of a stretch of a recording that look like spikes: high, narrow, and not on all channels alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

CLEARLY_ABOVE_NOISE = 8.0
"""Height of a clear peak over the standard deviation of the noise, both of its stretch and of the recording. In half a
minute of 384 channels of normal noise, even 6 is not reached."""

_DETECT_ABOVE = 6.0
_SWEEP_MS = 1.0
_SAME_TIME_MS = 0.2
_HALF_WIDTH_MS = (0.08, 0.8)
"""Width at half height of a spike that was band-passed; one of the largest cells has about 0.5 ms."""
_QUIET_MS = (1.5, 4.0)
"""From when to when beside a spike the trace is quiet again; what is slower, or rings on, is no spike."""
_QUIET_SHARE = 0.5
_NEIGHBOURS = 2
"""On each side, so many spikes of a burst may be within `_QUIET_MS`, as narrow as the spike and to the same side."""
_LARGEST_UV = 2000.0
_MAD_OF_UNIT_NORMAL = 0.6745
_FEW_CHANNELS = 8
_EQUAL_ON_FEW = {2: 0.85, 3: 0.8, 4: 0.75}
_EQUAL_ON_SOME, _EQUAL_ON_MANY, _SHARE_OF_MANY = 0.6, 0.5, 0.8
"""A peak of a disturbance has at least this share of its height on all channels, or, of more than `_FEW_CHANNELS`, on
most."""
_FAR_UM, _EQUAL_FAR_AWAY = 150.0, 0.4
"""So far from a cell, its spikes have lost nearly all of their height: where they keep this share, it is no cell."""
_AMID_A_CELL_UM = 100.0
"""All contacts within this distance of each other may see one cell alike."""
_AFTER_MS = 1.0
_LARGEST_SWING = 0.85
"""How far a trace swings to the other side of a spike, as a share of its height; a filtered step swings as far."""


@dataclass(frozen=True)
class Peaks:
    """Peaks of one stretch that look like spikes: arrays of shape (peaks,).

    Attributes
    ----------
    samples : np.ndarray
        Counted from the beginning of the stretch.
    channels : np.ndarray
        Index of the channel on which a peak is highest.
    heights : np.ndarray
        In microvolts where gains are known.
    negative : np.ndarray
        Whether it goes down.
    alike : np.ndarray
        Whether all wires have it alike: a cell amid them, or a disturbance.
    rebound : np.ndarray
        How much more the trace swings back after a peak than before it, as a share of its height. A cell's does; a
        pulse from outside is often the same on both sides.
    """

    samples: np.ndarray
    channels: np.ndarray
    heights: np.ndarray
    negative: np.ndarray
    alike: np.ndarray
    rebound: np.ndarray

    def chosen(self, mask: np.ndarray) -> Peaks:
        """Some of the peaks."""
        return Peaks(*(values[mask] for values in vars(self).values()))

    @staticmethod
    def joined(parts: list[Peaks], starts: list[int]) -> Peaks:
        """All of several stretches, with samples counted from where the starts are."""
        samples = [part.samples + start for part, start in zip(parts, starts, strict=True)]
        others = [np.concatenate([getattr(part, name) for part in parts]) for name in list(vars(parts[0]))[1:]]
        return Peaks(np.concatenate(samples), *others)


def distances_um(recording: BaseRecording) -> np.ndarray | None:
    """Distance of each contact from each, shape (channels, channels); None where there are no positions."""
    if not recording.has_probe():
        return None
    at = np.asarray(recording.get_channel_locations(), dtype=float)
    return np.asarray(np.linalg.norm(at[:, None] - at[None], axis=-1))


def noise_of(traces: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise of each channel, from the median of what lies beside the spikes."""
    return np.asarray(np.median(np.abs(traces), axis=0) / _MAD_OF_UNIT_NORMAL)


def microvolts(recording: BaseRecording, start: int, end: int) -> np.ndarray:
    """Samples around each channel's median, float32 of shape (samples, channels); microvolts where gains are known."""
    traces = recording.get_traces(start_frame=start, end_frame=end).astype(np.float32)
    gains = recording.get_channel_gains()
    if gains is not None:
        traces *= np.asarray(gains, dtype=np.float32)
    return np.asarray(traces - np.median(traces, axis=0), dtype=np.float32)


def spike_like(traces: np.ndarray, noise: np.ndarray, rate_hz: float, distances: np.ndarray | None) -> Peaks:
    """The peaks of one stretch that are clear and narrow, and no disturbance of all channels.

    Parameters
    ----------
    traces : np.ndarray
        Of `microvolts`, shape (samples, channels).
    noise : np.ndarray
        Of `noise_of`.
    rate_hz : float
        Sampling rate.
    distances : np.ndarray or None
        Of `distances_um`.
    """
    samples, channels = _highest_at_each_time(traces, *_detect(traces, noise, rate_hz), rate_hz)
    kept, alike = [], []
    for index, (sample, channel) in enumerate(zip(samples, channels, strict=True)):
        height = abs(traces[sample, channel])
        if not CLEARLY_ABOVE_NOISE * noise[channel] <= height <= _LARGEST_UV:
            continue
        if not _is_narrow(traces[:, channel], sample, rate_hz):
            continue
        if max(_swings(traces[:, channel], sample, rate_hz)) >= _LARGEST_SWING:
            continue
        shares = _shares(traces, sample, channel, rate_hz)
        if _is_far_away_too(shares, noise, channel, distances):
            continue
        is_alike = _is_everywhere(shares, noise)
        if is_alike and not _may_be_a_cell(noise, distances):
            continue
        kept.append(index)
        alike.append(is_alike)
    samples, channels = samples[kept], channels[kept]
    at = traces[samples, channels]
    swings = [_swings(traces[:, channel], sample, rate_hz) for sample, channel in zip(samples, channels, strict=True)]
    rebound = [after - before for before, after in swings]
    return Peaks(samples, channels, np.abs(at), at < 0, np.asarray(alike, dtype=bool), np.asarray(rebound, dtype=float))


def _detect(traces: np.ndarray, noise: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples and channels of all peaks above the detection threshold."""
    # A channel that does not move would be all peaks.
    thresholds = np.where(noise > 0, _DETECT_ABOVE * noise, np.inf)
    busy = np.flatnonzero((np.abs(traces) > thresholds).any(axis=0))
    if not busy.size:
        return busy, busy
    from spikeinterface.core import NumpyRecording
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    peaks = detect_peaks(
        NumpyRecording([traces[:, busy]], rate_hz),
        method="by_channel",
        method_kwargs={
            "peak_sign": "both",
            "detect_threshold": _DETECT_ABOVE,
            "exclude_sweep_ms": _SWEEP_MS,
            "noise_levels": noise[busy],
        },
        job_kwargs={"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False},
    )
    return peaks["sample_index"].astype(np.int64), busy[peaks["channel_index"]]


def _highest_at_each_time(
    traces: np.ndarray, samples: np.ndarray, channels: np.ndarray, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of peaks that several channels have together, the highest: samples and channels, in the order of time."""
    order = np.argsort(samples, kind="stable")
    samples, channels = samples[order], channels[order]
    if not samples.size:
        return samples, channels
    heights = np.abs(traces[samples, channels])
    apart = np.flatnonzero(np.diff(samples) > _SWEEP_MS / 1e3 * rate_hz) + 1
    best = [group[heights[group].argmax()] for group in np.split(np.arange(samples.size), apart)]
    return samples[best], channels[best]


def _shares(traces: np.ndarray, sample: int, channel: int, rate_hz: float) -> np.ndarray:
    """Height of a peak on each channel at about the same time, as a share of the highest."""
    reach = max(1, round(_SAME_TIME_MS / 1e3 * rate_hz))
    around = traces[max(0, sample - reach) : sample + reach + 1]
    peak = traces[sample, channel]
    return np.asarray((around * np.sign(peak)).max(axis=0) / abs(peak))


def _is_everywhere(shares: np.ndarray, noise: np.ndarray) -> bool:
    """Whether all channels have the same peak at the same time."""
    alive = noise > 0
    if alive.sum() < 2:
        return False
    if alive.sum() <= _FEW_CHANNELS:
        return bool((shares[alive] >= _EQUAL_ON_FEW.get(int(alive.sum()), _EQUAL_ON_SOME)).all())
    return bool((shares[alive] >= _EQUAL_ON_MANY).mean() >= _SHARE_OF_MANY)


def _is_far_away_too(shares: np.ndarray, noise: np.ndarray, channel: int, distances: np.ndarray | None) -> bool:
    """Whether contacts that are far away have a good part of the peak at the same time, as no cell's do."""
    if distances is None:
        return False
    far = (distances[channel] > _FAR_UM) & (noise > 0)
    return bool(far.any() and np.median(shares[far]) >= _EQUAL_FAR_AWAY)


def _may_be_a_cell(noise: np.ndarray, distances: np.ndarray | None) -> bool:
    """Whether the contacts are so near each other, as far as is known, that all may see one cell alike."""
    alive = noise > 0
    if alive.sum() > _FEW_CHANNELS:
        return False
    return distances is None or bool(distances[np.ix_(alive, alive)].max() <= _AMID_A_CELL_UM)


def _swings(trace: np.ndarray, sample: int, rate_hz: float) -> tuple[float, float]:
    """How far the trace swings to the other side before and after a peak, as shares of its height."""
    reach = round(_AFTER_MS / 1e3 * rate_hz)
    before, after = trace[max(0, sample - reach) : sample], trace[sample + 1 : sample + reach + 1]
    return (
        float((-before / trace[sample]).max(initial=0.0)),
        float((-after / trace[sample]).max(initial=0.0)),
    )


def _is_narrow(trace: np.ndarray, sample: int, rate_hz: float) -> bool:
    """Whether the peak is as wide as a spike, and the trace quiet again soon."""
    height = abs(trace[sample])
    reach = round(_QUIET_MS[1] / 1e3 * rate_hz)
    around = trace[max(0, sample - reach) : sample + reach + 1] * np.sign(trace[sample])
    peak = min(sample, reach)
    above = around >= height / 2
    left = peak - int(np.flatnonzero(~above[: peak + 1])[-1]) if (~above[:peak]).any() else peak
    after = np.flatnonzero(~above[peak:])
    right = int(after[0]) if after.size else around.size - peak
    width_ms = 1e3 * (left + right - 1) / rate_hz
    begin = round(_QUIET_MS[0] / 1e3 * rate_hz)
    sides = around[: max(0, peak - begin)], around[peak + begin :]
    quiet = all(_is_quiet(side / height, rate_hz) for side in sides)
    return _HALF_WIDTH_MS[0] <= width_ms <= _HALF_WIDTH_MS[1] and quiet


def _is_quiet(side: np.ndarray, rate_hz: float) -> bool:
    """Whether the trace beside a spike is quiet, but for other spikes of a burst.

    Parameters
    ----------
    side : np.ndarray
        The trace on one side, over the height of the spike, whose peak is positive.
    rate_hz : float
        Sampling rate.
    """
    loud = np.abs(side) >= _QUIET_SHARE
    if not loud.any():
        return True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    widest = _HALF_WIDTH_MS[1] / 1e3 * rate_hz
    return bool((side[loud] > 0).all() and len(starts) <= _NEIGHBOURS and (ends - starts).max() <= widest)
