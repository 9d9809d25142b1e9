"""Detecting channels that carry no usable signal, and removing them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import BadChannelsError
from sort_assets.machine.threads import compute_threads
from sort_assets.recordings.coherence import DEAD, NEIGHBOURS, NOISE, NUM_CHUNKS, CoherenceLabels

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_MAD_CHUNKS = 20
_FLAT_CHUNKS = 50
_CHUNK_S = 0.3
_HIGH_PASS_HZ = 300.0
_MAD_THRESHOLD = 5.0
_DROPPED = {DEAD: "dead", NOISE: "noise"}


def detect_bad_channels(recording: BaseRecording, seed: int, n_jobs: int = 1) -> dict[str, str]:
    """Find dead and noisy channels.

    1. A channel that never changes is dead, unless no channel ever changes. Such a recording is silent: it has no good
       channels to compare with, and "nothing to sort" is a result, whereas "all channels are bad" would be a failure.
    2. Within each group (shank, tetrode) of at least `NEIGHBOURS` channels with locations, SpikeInterface's
       method "coherence+psd" (International Brain Laboratory 2022) decides. Channels that it considers outside of
       the brain are kept: they are good, and a sorter finds nothing there.
    3. Smaller groups and recordings without locations have too few for that. Their channels are all compared with each
       other: a channel is noisy if its median absolute deviation is above five times the median one.

    Parameters
    ----------
    recording : BaseRecording
        Raw, float32 in microvolts; what is not annotated as filtered is high-passed on the way.
    seed : int
        Decides which times of the recording are read.
    n_jobs : int
        Threads; they do not change the result.

    Returns
    -------
    dict
        From the channel's id as text to "dead" or "noise"; in the order of the recording.
    """
    alive = _changes(recording, seed)
    if not alive.any():
        return {}
    labels = {str(channel_id): "dead" for channel_id in recording.channel_ids[~alive]}
    large_groups: list[BaseRecording] = []
    small_groups: list[np.ndarray] = []
    groups = recording.get_channel_groups()
    if groups is None:
        groups = np.zeros(recording.get_num_channels(), dtype=int)
    for group in np.unique(groups):
        channel_ids = recording.channel_ids[(groups == group) & alive]
        if recording.has_probe() and len(channel_ids) >= NEIGHBOURS:
            large_groups.append(recording.select_channels(channel_ids))
        else:
            small_groups.append(channel_ids)
    with compute_threads(1):
        labels |= _by_coherence(large_groups, seed, n_jobs)
        channel_ids = np.concatenate([recording.channel_ids[:0], *small_groups])
        if len(channel_ids) > 1:
            labels |= _by_deviation(recording.select_channels(channel_ids), seed)
    ordered = [str(channel_id) for channel_id in recording.channel_ids if str(channel_id) in labels]
    return {channel_id: labels[channel_id] for channel_id in ordered}


def check_channel_ids(recording: BaseRecording, bad_channel_ids: Sequence[str]) -> None:
    """Check that all channels named as bad exist.

    Raises
    ------
    BadChannelsError
        When one does not.
    """
    known = [str(channel_id) for channel_id in recording.channel_ids]
    unknown = [channel_id for channel_id in bad_channel_ids if channel_id not in known]
    if unknown:
        raise BadChannelsError(
            f"The recording has no channels {', '.join(unknown)}, which bad_channel_ids names.",
            remedy=f"Name channels as the recording does, from {known[0]} to {known[-1]} ({len(known)} channels).",
        )


def remove_channels(recording: BaseRecording, bad_channel_ids: Sequence[str]) -> BaseRecording:
    """The recording without some channels.

    Raises
    ------
    BadChannelsError
        When none is left.
    """
    bad = np.array([str(channel_id) in set(bad_channel_ids) for channel_id in recording.channel_ids])
    if bad.all():
        raise BadChannelsError(
            f"All {len(bad)} channels are bad: no good channel is left.",
            remedy="Look at the traces. If they are good, set recording.bad_channels to 'list' or 'none'.",
        )
    return recording.select_channels(recording.channel_ids[~bad])


def _changes(recording: BaseRecording, seed: int) -> np.ndarray:
    """Whether each channel ever takes another value than at first, shape (channels,)."""
    rng = np.random.default_rng(seed)
    num_samples = recording.get_num_samples()
    length = max(1, min(num_samples, int(_CHUNK_S * recording.sampling_frequency)))
    changes = np.zeros(recording.get_num_channels(), dtype=bool)
    first = recording.get_traces(start_frame=0, end_frame=1)
    for start in rng.integers(0, num_samples - length + 1, size=_FLAT_CHUNKS):
        (still,) = np.nonzero(~changes)
        traces = recording.get_traces(
            start_frame=int(start), end_frame=int(start) + length, channel_ids=recording.channel_ids[still]
        )
        changes[still] = (traces != first[:, still]).any(axis=0)
        if changes.all():
            break
    return changes


def _by_coherence(groups: Sequence[BaseRecording], seed: int, n_jobs: int) -> dict[str, str]:
    """Label the channels of each group, which has locations, by comparing them with their neighbours."""
    if not groups:
        return {}
    found = [CoherenceLabels(group) for group in groups]

    def read(chunk: tuple[int, int]) -> list[np.ndarray | None]:
        return [
            None if labels.decided else labels.of_chunk(_high_passed(group, *chunk))
            for labels, group in zip(found, groups, strict=True)
        ]

    chunks = _chunks(groups[0], NUM_CHUNKS, seed)
    with ThreadPoolExecutor(n_jobs) as pool:
        for first in range(0, NUM_CHUNKS, n_jobs):
            for of_chunk in pool.map(read, chunks[first : first + n_jobs]):
                for labels, one in zip(found, of_chunk, strict=True):
                    if one is not None:
                        labels.add(one)
            if all(labels.decided for labels in found):
                break
    return {
        str(channel_id): _DROPPED[label]
        for labels, group in zip(found, groups, strict=True)
        for channel_id, label in zip(group.channel_ids, labels.labels(), strict=True)
        if label in _DROPPED
    }


def _by_deviation(recording: BaseRecording, seed: int) -> dict[str, str]:
    """Label channels by comparing how far they deviate, as SpikeInterface's method "mad" does."""
    from scipy.stats import median_abs_deviation

    traces = np.concatenate([_high_passed(recording, *chunk) for chunk in _chunks(recording, _MAD_CHUNKS, seed)])
    deviations = median_abs_deviation(traces, axis=0)
    noisy = deviations > _MAD_THRESHOLD * np.median(deviations)
    return {str(channel_id): "noise" for channel_id in recording.channel_ids[noisy]}


def _chunks(recording: BaseRecording, number: int, seed: int) -> list[tuple[int, int]]:
    """First and last samples of chunks at random times."""
    from spikeinterface.core.time_series_tools import get_random_sample_slices

    duration_s = min(_CHUNK_S, 0.9 * recording.get_total_duration())
    length = int(duration_s * recording.sampling_frequency)
    slices = get_random_sample_slices(recording, num_chunks_per_segment=number, chunk_size=length, seed=seed)
    return [(int(start), int(end)) for _, start, end in slices]


def _high_passed(recording: BaseRecording, start: int, end: int) -> np.ndarray:
    """A chunk as SpikeInterface's `highpass_filter` gives it; as it is where the recording has been filtered."""
    from sort_assets.recordings.band_pass_design import margin_samples
    from sort_assets.recordings.high_pass import high_pass

    if recording.is_filtered():
        traces: np.ndarray = recording.get_traces(start_frame=start, end_frame=end)
        return traces
    rate_hz = float(recording.sampling_frequency)
    margin = margin_samples(rate_hz, _HIGH_PASS_HZ)
    low, high = max(0, start - margin), min(int(recording.get_num_samples()), end + margin)
    return high_pass(
        recording.get_traces(start_frame=low, end_frame=high), rate_hz, _HIGH_PASS_HZ, start - low, end - start
    )
