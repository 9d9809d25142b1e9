"""Whether a filtered recording clearly has spikes, whatever a sorter says: peaks in stretches over its whole length.

What is asked for is more than a detection threshold, because the answer turns "nothing to sort" into a failure. A peak
counts when it is far above the noise around it, as narrow as a spike, and not the same on all channels at once, as
what comes from outside (touching, licking, stimulation, the mains) is.

The limits were measured with `benchmarks/clear_spikes.py`: single wires, tetrodes and 16 contacts, two recordings of
half a minute each. Of 48 of noise (normal, 1/f, the mains, touches, stimulation, bursts of muscle noise, jumps of the
baseline, two bad seconds) 4 are taken for spikes, all of them touches and jumps on a single wire, where nothing tells
that they are on all channels. Of 30 with units, from one of 2 spikes per second and 12 times the noise on, it misses
none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

CLEARLY_ABOVE_NOISE = 8.0
"""Height of a clear peak over the standard deviation of the noise, both of its stretch and of the recording. In half a
minute of 384 channels of normal noise, even 6 is not reached."""
FEWEST_SPIKES = 30
"""Clear spikes in the stretches: one unit of a spike per second. Fewer may be what a sorter rightly finds too few."""
SMALLEST_SHARE = 0.2
"""Share of the stretches that have clear spikes: cells go on firing, and a disturbance is soon over."""

_STRETCHES = 30
_STRETCH_S = 1.0
_DETECT_ABOVE = 6.0
_SWEEP_MS = 1.0
_SAME_TIME_MS = 0.2
_HALF_WIDTH_MS = (0.08, 0.8)
"""Width at half height of a spike that was band-passed; one of the largest cells has about 0.5 ms."""
_QUIET_MS = (1.5, 4.0)
"""From when to when beside a spike the trace is quiet again; what is slower, or rings on, is no spike."""
_QUIET_SHARE = 0.5
_LARGEST_UV = 2000.0
_MAD_OF_UNIT_NORMAL = 0.6745
_FEW_CHANNELS = 8
_EQUAL_ON_FEW = {2: 0.85, 3: 0.8}
_EQUAL_ON_SOME, _EQUAL_ON_MANY, _SHARE_OF_MANY = 0.75, 0.5, 0.8
"""A peak of a disturbance has at least this share of its height on all channels, or, of more than `_FEW_CHANNELS`, on
most. A cell that all wires of a tetrode see so much alike does not count: others on the same tetrode do."""


@dataclass(frozen=True)
class ClearSpikes:
    """The clear spikes that were seen.

    Attributes
    ----------
    count : int
        In all stretches together, each counted once, on the channel where it is highest.
    looked_at_s : float
        Length of all stretches together.
    duration_s : float
        Length of the recording.
    stretches : int
        How many were looked at.
    stretches_with_spikes : int
        How many have at least one.
    first_s : float or None
        Start of the first stretch with one, in seconds from the first sample.
    negative_share : float
        Share of the spikes whose peak goes down.
    height : float
        Median height, in standard deviations of the noise.
    channel : str
        Id of the channel that has most.
    """

    count: int
    looked_at_s: float
    duration_s: float
    stretches: int
    stretches_with_spikes: int
    first_s: float | None
    negative_share: float
    height: float
    channel: str

    @property
    def certain(self) -> bool:
        """Whether a sorter should have found something."""
        return self.count >= FEWEST_SPIKES and self.stretches_with_spikes >= SMALLEST_SHARE * self.stretches

    def __str__(self) -> str:
        seconds = f"{self.looked_at_s:.3g} s of its {self.duration_s:.3g} s"
        if not self.count:
            return f"no clear spikes in {seconds}"
        return f"{self.count} clear spikes in {seconds}, most on channel {self.channel}"


@dataclass(frozen=True)
class _Peaks:
    """Peaks of one stretch that look like spikes: arrays of shape (peaks,)."""

    channels: np.ndarray
    heights: np.ndarray
    negative: np.ndarray


def look_for_clear_spikes(recording: BaseRecording, *, seed: int = 0) -> ClearSpikes:
    """Look for spikes in half a minute of a filtered recording, a second at a random place in each of thirty parts.

    Holds one stretch in memory: about 300 MB at most for 384 channels at 30 kHz.

    Parameters
    ----------
    recording : BaseRecording
        Single segment, filtered: what the sorter reads.
    seed : int
        Decides the places.
    """
    rate_hz = float(recording.sampling_frequency)
    places = _places(int(recording.get_num_samples()), rate_hz, seed)
    noise, found = [], []
    for start, end in places:
        traces = _microvolts(recording, start, end)
        noise.append(np.median(np.abs(traces), axis=0) / _MAD_OF_UNIT_NORMAL)
        found.append(_spike_like(traces, noise[-1], rate_hz))
    usual_noise = _usual(np.asarray(noise))
    above = [peaks.heights >= CLEARLY_ABOVE_NOISE * usual_noise[peaks.channels] for peaks in found]
    kept = [
        _Peaks(peaks.channels[mask], peaks.heights[mask], peaks.negative[mask])
        for peaks, mask in zip(found, above, strict=True)
    ]
    with_spikes = [start for (start, _), peaks in zip(places, kept, strict=True) if peaks.channels.size]
    channels = np.concatenate([peaks.channels for peaks in kept])
    heights = np.concatenate([peaks.heights for peaks in kept])
    negative = np.concatenate([peaks.negative for peaks in kept])
    busiest = int(np.bincount(channels).argmax()) if channels.size else 0
    return ClearSpikes(
        count=int(channels.size),
        looked_at_s=sum(end - start for start, end in places) / rate_hz,
        duration_s=recording.get_num_samples() / rate_hz,
        stretches=len(places),
        stretches_with_spikes=len(with_spikes),
        first_s=with_spikes[0] / rate_hz if with_spikes else None,
        negative_share=float(negative.mean()) if negative.size else 0.0,
        height=float(np.median(heights / usual_noise[channels])) if channels.size else 0.0,
        channel=str(recording.channel_ids[busiest]),
    )


def _usual(noise: np.ndarray) -> np.ndarray:
    """Median noise of each channel over the stretches in which it moves, shape (channels,); infinite where in none."""
    moving = np.where(noise > 0, noise, np.nan)
    moving[:, ~(noise > 0).any(axis=0)] = np.inf
    return np.asarray(np.nanmedian(moving, axis=0))


def _places(num_samples: int, rate_hz: float, seed: int) -> list[tuple[int, int]]:
    """First sample and end of each stretch; of a short recording, all of it."""
    length = max(1, round(_STRETCH_S * rate_hz))
    if num_samples <= _STRETCHES * length:
        edges = np.linspace(0, num_samples, max(1, num_samples // length) + 1).astype(int)
        return [(int(start), int(end)) for start, end in pairwise(edges)]
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, num_samples, _STRETCHES + 1).astype(int)
    starts = [int(rng.integers(first, after - length + 1)) for first, after in pairwise(edges)]
    return [(start, start + length) for start in starts]


def _microvolts(recording: BaseRecording, start: int, end: int) -> np.ndarray:
    """Samples around each channel's median, float32 of shape (samples, channels); microvolts where gains are known."""
    traces = recording.get_traces(start_frame=start, end_frame=end).astype(np.float32)
    gains = recording.get_channel_gains()
    if gains is not None:
        traces *= np.asarray(gains, dtype=np.float32)
    return np.asarray(traces - np.median(traces, axis=0), dtype=np.float32)


def _spike_like(traces: np.ndarray, noise: np.ndarray, rate_hz: float) -> _Peaks:
    """The peaks of one stretch that are clear, narrow and not everywhere at once."""
    samples, channels = _highest_at_each_time(traces, *_detect(traces, noise, rate_hz), rate_hz)
    kept = [
        index
        for index, (sample, channel) in enumerate(zip(samples, channels, strict=True))
        if abs(traces[sample, channel]) >= CLEARLY_ABOVE_NOISE * noise[channel]
        and abs(traces[sample, channel]) <= _LARGEST_UV
        and not _is_everywhere(traces, noise, sample, channel, rate_hz)
        and _is_narrow(traces[:, channel], sample, rate_hz)
    ]
    at = traces[samples[kept], channels[kept]]
    return _Peaks(channels[kept], np.abs(at), at < 0)


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


def _is_everywhere(traces: np.ndarray, noise: np.ndarray, sample: int, channel: int, rate_hz: float) -> bool:
    """Whether all channels have the same peak at the same time, which no cell does."""
    alive = noise > 0
    if alive.sum() < 2:
        return False
    reach = max(1, round(_SAME_TIME_MS / 1e3 * rate_hz))
    around = traces[max(0, sample - reach) : sample + reach + 1, alive]
    shares = (around * np.sign(traces[sample, channel])).max(axis=0) / abs(traces[sample, channel])
    if alive.sum() <= _FEW_CHANNELS:
        return bool((shares >= _EQUAL_ON_FEW.get(int(alive.sum()), _EQUAL_ON_SOME)).all())
    return bool((shares >= _EQUAL_ON_MANY).mean() >= _SHARE_OF_MANY)


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
    beside = np.abs(np.concatenate([around[: max(0, peak - begin)], around[peak + begin :]]))
    quiet = beside.size == 0 or float(beside.max()) < _QUIET_SHARE * height
    return _HALF_WIDTH_MS[0] <= width_ms <= _HALF_WIDTH_MS[1] and quiet
