"""Detecting channels that carry no usable signal, and removing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import BadChannelsError

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

COHERENCE_NEIGHBOURS = 11
"""Window, in channels, of the running median with which SpikeInterface compares a channel's coherence: its default."""

_MAD_CHUNKS = 20
_FLAT_CHUNKS = 50
_CHUNK_S = 0.3
_DROPPED_LABELS = ("dead", "noise")


def detect_bad_channels(recording: BaseRecording, seed: int, n_jobs: int = 1) -> dict[str, str]:
    """Find dead and noisy channels.

    1. A channel that never changes is dead, unless no channel ever changes. Such a recording is silent: it has no good
       channels to compare with, and "nothing to sort" is a result, whereas "all channels are bad" would be a failure.
    2. Within each group (shank, tetrode) of at least `COHERENCE_NEIGHBOURS` channels with locations, SpikeInterface's
       method "coherence+psd" (International Brain Laboratory 2022) decides. Channels that it considers outside of
       the brain are kept: they are good, and a sorter finds nothing there.
    3. Smaller groups and recordings without locations have too few for that. Their channels are all compared with each
       other: a channel is noisy if its median absolute deviation is above five times the median one.

    Parameters
    ----------
    recording : BaseRecording
        Raw, in microvolts; what is not annotated as filtered is high-passed on the way.
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
    small_groups: list[np.ndarray] = []
    groups = recording.get_channel_groups()
    if groups is None:
        groups = np.zeros(recording.get_num_channels(), dtype=int)
    for group in np.unique(groups):
        channel_ids = recording.channel_ids[(groups == group) & alive]
        if recording.has_probe() and len(channel_ids) >= COHERENCE_NEIGHBOURS:
            labels |= _detect(recording.select_channels(channel_ids), "coherence+psd", seed, n_jobs)
        else:
            small_groups.append(channel_ids)
    channel_ids = np.concatenate([recording.channel_ids[:0], *small_groups])
    if len(channel_ids) > 1:
        labels |= _detect(recording.select_channels(channel_ids), "mad", seed, n_jobs)
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
        traces = recording.get_traces(start_frame=int(start), end_frame=int(start) + length)
        changes |= (traces != first).any(axis=0)
        if changes.all():
            break
    return changes


def _detect(recording: BaseRecording, method: str, seed: int, n_jobs: int) -> dict[str, str]:
    from spikeinterface.preprocessing import detect_bad_channels as detect

    _, labels = detect(
        recording,
        method=method,
        n_neighbors=COHERENCE_NEIGHBOURS,
        chunk_duration_s=min(_CHUNK_S, 0.9 * recording.get_total_duration()),
        # The second method holds all chunks in memory at once.
        **({"num_random_chunks": _MAD_CHUNKS} if method == "mad" else {}),
        seed=seed,
        job_kwargs={"n_jobs": n_jobs, "pool_engine": "thread", "progress_bar": False},
    )
    return {
        str(channel_id): str(label)
        for channel_id, label in zip(recording.channel_ids, labels, strict=True)
        if label in _DROPPED_LABELS
    }
