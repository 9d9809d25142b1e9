"""Spikes at joins: their waveform reaches over a gap, or from one file into the next.

What is on the two sides of a join was recorded at different times, so that such a waveform is no spike's own. Where
samples of several files follow each other on one clock, as in files of a minute each, there is no join.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from spikeinterface.core import BaseSorting

SPIKES_AT_JOINS = "spikes_at_joins"
"""Annotation of a sorting: by unit as text, which of its spikes are at a join."""


def at_join(spike_samples: ArrayLike, joins: Sequence[int], before: int, after: int) -> np.ndarray:
    """Whether the waveform of a spike reaches over a join.

    Parameters
    ----------
    spike_samples : array_like
        In samples of the recording.
    joins : sequence of int
        First samples after a join, ascending (`Clock.joins`).
    before, after : int
        Samples of a waveform before the spike's own sample, and from that on.

    Returns
    -------
    np.ndarray
        bool, of the shape of `spike_samples`.
    """
    samples = np.asarray(spike_samples, dtype=np.int64)
    if not len(joins):
        return np.zeros(samples.shape, dtype=bool)
    following = np.searchsorted(joins, samples - before, side="right")
    end = np.append(np.asarray(joins, dtype=np.int64), np.iinfo(np.int64).max)
    return np.asarray(end[following] < samples + after)


def annotate_spikes_at_joins(sorting: BaseSorting, joins: Sequence[int], before: int, after: int) -> None:
    """Annotate a sorting of one segment with its spikes at joins: by unit, positions in its spike train.

    Parameters
    ----------
    sorting : BaseSorting
        Units without such a spike are left out of the annotation; it is empty where there is no join.
    joins, before, after
        As for `at_join`.
    """
    found: dict[str, list[int]] = {}
    if len(joins):
        for unit_id in sorting.unit_ids:
            positions = np.flatnonzero(at_join(sorting.get_unit_spike_train(unit_id), joins, before, after))
            if len(positions):
                found[str(unit_id)] = positions.tolist()
    sorting.annotate(**{SPIKES_AT_JOINS: found})
