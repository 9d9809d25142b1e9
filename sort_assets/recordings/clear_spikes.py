"""Whether a filtered recording clearly has spikes, whatever a sorter says: peaks in stretches over its whole length.

What is asked for is more than a detection threshold, because the answer turns "nothing to sort" into a failure. A peak
counts when it is far above the noise around it, as narrow as a spike, and not the same on all channels at once, as
what comes from outside (touching, licking, stimulation, the mains) is, nor at the regular intervals of a machine.

The limits were measured with `benchmarks/clear_spikes.py`: single wires, tetrodes, shanks of 8 and 16 contacts, half a
minute each. Of 32 of noise (normal, 1/f, the mains, touches, stimulation, bursts of muscle noise, jumps of the
baseline, two bad seconds) none is taken for certain, and 8 are suspected: all of the bad seconds, muscle noise but for
16 contacts, and touches of a single wire. Of 20 with units, from one of 2 spikes per second and 12 times the noise on,
all are certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.recordings.regular_pulses import regular_pulses
from sort_assets.recordings.spike_like_peaks import (
    CLEARLY_ABOVE_NOISE,
    Peaks,
    distances_um,
    microvolts,
    noise_of,
    spike_like,
)

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

FEWEST_SPIKES = 30
"""Clear spikes in the stretches: one unit of a spike per second. Fewer may be what a sorter rightly finds too few."""
SMALLEST_SHARE = 0.2
"""Share of the stretches that have clear spikes: cells go on firing, and a disturbance is soon over."""
SEVERAL, BUSY_STRETCHES, SPREAD_S = 3, 3, 10.0
"""Or: several clear spikes in each of some stretches, which are not all near each other."""
A_FEW = 3
"""Clear spikes from which on a recording is not called one without."""
FEWEST_ALIKE, SMALLEST_REBOUND = 10, 0.06
"""Peaks that all wires have alike, from which on there may be a cell amid them; and how much more the trace swings back
after them than before, at the median: 0.12 to 0.19 of the height after known units on a single wire, and 0.01 after
touches, which are the same on both sides."""

_STRETCHES = 30
_STRETCH_S, _LONGER_STRETCH_S = 1.0, 4.0
_FILTER_HZ = (300.0, 6000.0)


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
    busy_s : tuple of float
        Start of each stretch with several, in seconds from the first sample.
    first_s : float or None
        Start of the first stretch with one.
    empty_before : int
        Stretches before that one, in which there is none.
    alike : int
        Further peaks that all wires have alike: of a cell amid them, or a disturbance. They are no clear spikes.
    symmetric : bool
        Whether the peaks are the same on both sides, as those of most touches are: they make nothing certain.
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
    busy_s: tuple[float, ...]
    first_s: float | None
    empty_before: int
    alike: int
    symmetric: bool
    negative_share: float
    height: float
    channel: str

    @property
    def certain(self) -> bool:
        """Whether a sorter should have found something."""
        if self.symmetric:
            return False
        if self.count >= FEWEST_SPIKES and self.stretches_with_spikes >= SMALLEST_SHARE * self.stretches:
            return True
        return len(self.busy_s) >= BUSY_STRETCHES and self.busy_s[-1] - self.busy_s[0] >= SPREAD_S

    @property
    def suspected(self) -> bool:
        """Whether there may be cells: more than nothing was seen, and not enough to be certain."""
        a_few = self.count >= A_FEW and self.stretches_with_spikes >= min(2, self.stretches)
        return not self.certain and (a_few or self.alike >= FEWEST_ALIKE)

    def __str__(self) -> str:
        seconds = f"{self.looked_at_s:.3g} s of its {self.duration_s:.3g} s"
        alike = f"{self.alike} peaks that all wires have alike" if self.alike else ""
        if not self.count:
            return f"{alike or 'no clear spikes'} in {seconds}"
        also = f", and {alike}" if alike else ""
        return f"{self.count} clear spikes in {seconds}, most on channel {self.channel}{also}"


def look_for_clear_spikes(recording: BaseRecording, *, filtered: bool | None = None, seed: int = 0) -> ClearSpikes:
    """Look for spikes in half a minute of a recording, a second at a random place in each of thirty parts.

    Where that shows a few spikes, and not enough to be certain, two minutes are looked at: four seconds in each of the
    parts. Holds one second in memory: about 300 MB at most for 384 channels at 30 kHz.

    Parameters
    ----------
    recording : BaseRecording
        Single segment: what the sorter reads.
    filtered : bool or None
        Whether it is filtered; if not, what is looked at is. None leaves it to what SpikeInterface noted in it.
    seed : int
        Decides the places.
    """
    if not (recording.is_filtered() if filtered is None else filtered):
        from spikeinterface.preprocessing import bandpass_filter

        high = min(_FILTER_HZ[1], 0.45 * float(recording.sampling_frequency))
        recording = bandpass_filter(recording, freq_min=_FILTER_HZ[0], freq_max=high, dtype="float32")
    first = _look(recording, _STRETCH_S, seed)
    if first.certain or not (first.count or first.alike) or first.looked_at_s >= first.duration_s:
        return first
    longer = _look(recording, _LONGER_STRETCH_S, seed + 1)
    return max(first, longer, key=lambda one: (one.certain, one.suspected, one.count))


def _look(recording: BaseRecording, stretch_s: float, seed: int) -> ClearSpikes:
    """Look at thirty stretches."""
    rate_hz = float(recording.sampling_frequency)
    places = _places(int(recording.get_num_samples()), max(1, round(stretch_s * rate_hz)), seed)
    distances = distances_um(recording)
    noise, found = [], []
    for start, end in places:
        seconds = np.linspace(start, end, max(1, round((end - start) / rate_hz)) + 1).astype(int)
        of_stretch = []
        for begin, stop in pairwise(seconds):
            traces = microvolts(recording, int(begin), int(stop))
            noise.append(noise_of(traces))
            of_stretch.append(spike_like(traces, noise[-1], rate_hz, distances))
        found.append(Peaks.joined(of_stretch, [int(begin) for begin in seconds[:-1]]))
    usual_noise = _usual(np.asarray(noise))
    kept = [peaks.chosen(peaks.heights >= CLEARLY_ABOVE_NOISE * usual_noise[peaks.channels]) for peaks in found]
    kept = _without_pulses(kept, places, rate_hz)
    clear = [peaks.chosen(~peaks.alike) for peaks in kept]
    joined = Peaks.joined(clear, [0] * len(clear))
    counts = [peaks.samples.size for peaks in clear]
    with_spikes = [index for index, count in enumerate(counts) if count]
    return ClearSpikes(
        count=sum(counts),
        looked_at_s=sum(end - start for start, end in places) / rate_hz,
        duration_s=recording.get_num_samples() / rate_hz,
        stretches=len(places),
        stretches_with_spikes=len(with_spikes),
        busy_s=tuple(places[index][0] / rate_hz for index in with_spikes if counts[index] >= SEVERAL),
        first_s=places[with_spikes[0]][0] / rate_hz if with_spikes else None,
        empty_before=with_spikes[0] if with_spikes else 0,
        alike=_alike(kept),
        symmetric=_is_symmetric(joined),
        negative_share=float(joined.negative.mean()) if joined.negative.size else 0.0,
        height=float(np.median(joined.heights / usual_noise[joined.channels])) if joined.channels.size else 0.0,
        channel=str(recording.channel_ids[int(np.bincount(joined.channels).argmax()) if joined.channels.size else 0]),
    )


def _without_pulses(found: list[Peaks], places: Sequence[tuple[int, int]], rate_hz: float) -> list[Peaks]:
    """The peaks of each stretch without those at regular intervals."""
    joined = Peaks.joined(found, [0] * len(found))
    stretch = np.repeat(np.arange(len(found)), [peaks.samples.size for peaks in found])
    spans = [(start / rate_hz, end / rate_hz) for start, end in places]
    regular = regular_pulses(joined.samples / rate_hz, stretch, spans)
    return [joined.chosen(~regular & (stretch == index)) for index in range(len(found))]


def _alike(found: list[Peaks]) -> int:
    """How many peaks all wires have alike, where they may be those of a cell."""
    alike = [peaks.chosen(peaks.alike) for peaks in found]
    joined = Peaks.joined(alike, [0] * len(alike))
    with_some = sum(peaks.samples.size > 0 for peaks in alike)
    goes_on = with_some >= SMALLEST_SHARE * len(found)
    return joined.samples.size if goes_on and not _is_symmetric(joined) else 0


def _is_symmetric(peaks: Peaks) -> bool:
    """Whether the trace swings back as far before the peaks as after them."""
    return peaks.samples.size > 0 and bool(abs(np.median(peaks.rebound)) < SMALLEST_REBOUND)


def _usual(noise: np.ndarray) -> np.ndarray:
    """Median noise of each channel over the stretches in which it moves, shape (channels,); infinite where in none."""
    moving = np.where(noise > 0, noise, np.nan)
    moving[:, ~(noise > 0).any(axis=0)] = np.inf
    return np.asarray(np.nanmedian(moving, axis=0))


def _places(num_samples: int, length: int, seed: int) -> list[tuple[int, int]]:
    """First sample and end of each stretch; of a short recording, all of it."""
    if num_samples <= _STRETCHES * length:
        edges = np.linspace(0, num_samples, max(1, num_samples // length) + 1).astype(int)
        return [(int(start), int(end)) for start, end in pairwise(edges)]
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, num_samples, _STRETCHES + 1).astype(int)
    starts = [int(rng.integers(first, after - length + 1)) for first, after in pairwise(edges)]
    return [(start, start + length) for start in starts]
