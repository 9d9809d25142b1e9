"""Which peaks come at regular intervals, as the pulses of a machine do and the spikes of cells do not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_SHORTEST_S, _LONGEST_S = 0.015, 2.0
"""Intervals that are looked for. Shorter ones are those of bursts; of faster pulses, every second or third is found."""
_BIN_S = 0.001
_SAME_INTERVAL, _SAME_INTERVAL_S = 0.02, 0.001
"""By how much the intervals of a machine differ, as a share and at most; those of the most regular cells differ by some
5 %."""
_FEWEST, _MOST_OF_THEM = 8, 0.7
_AGAINST_CHANCE = 2.0
_CANDIDATES = 5
_PEAKS_OF_A_STRETCH = 200


def regular_pulses(times_s: np.ndarray, stretch: np.ndarray, spans_s: Iterable[tuple[float, float]]) -> np.ndarray:
    """Whether each peak is one of a series at regular intervals; none where most peaks are not.

    Parameters
    ----------
    times_s : np.ndarray
        Ascending, shape (peaks,).
    stretch : np.ndarray
        Index of the stretch in which a peak is; shape (peaks,).
    spans_s : iterable of (start, end)
        Of each stretch.

    Returns
    -------
    np.ndarray
        Bool, shape (peaks,). A peak whose neighbours would be outside its stretch belongs to a series that was found.
    """
    spans = np.asarray(list(spans_s), dtype=float).reshape(-1, 2)
    by_stretch = [times_s[stretch == index] for index in range(len(spans))]
    rate_hz = len(times_s) / max(float(np.diff(spans, axis=1).sum()), 1e-9)
    for interval in _candidates(by_stretch):
        within = min(_SAME_INTERVAL * interval, _SAME_INTERVAL_S)
        partner = np.zeros(len(times_s), dtype=bool)
        judged = np.zeros(len(times_s), dtype=bool)
        for index, times in enumerate(by_stretch):
            start, end = spans[index]
            partner[stretch == index] = _has(times, times + interval, within) | _has(times, times - interval, within)
            judged[stretch == index] = (times + interval < end) | (times - interval >= start)
        share = partner[judged].mean() if judged.sum() >= _FEWEST else 0.0
        by_chance = 1 - np.exp(-rate_hz * 4 * within)
        if share >= max(_MOST_OF_THEM, _AGAINST_CHANCE * by_chance):
            return np.asarray(partner | ~judged)
    return np.zeros(len(times_s), dtype=bool)


def _candidates(by_stretch: list[np.ndarray]) -> list[float]:
    """The most frequent intervals, of neighbours and others."""
    differences = []
    for times in by_stretch:
        some = times[:_PEAKS_OF_A_STRETCH]
        between = (some[None] - some[:, None]).ravel()
        differences.append(between[(between >= _SHORTEST_S) & (between <= _LONGEST_S)])
    found = np.concatenate(differences) if differences else np.empty(0)
    if not found.size:
        return []
    counts, edges = np.histogram(found, bins=np.arange(_SHORTEST_S, _LONGEST_S + 2 * _BIN_S, _BIN_S))
    often = np.argsort(counts, kind="stable")[::-1][:_CANDIDATES]
    near = [found[np.abs(found - edges[one] - _BIN_S / 2) <= _BIN_S] for one in often if counts[one]]
    return [float(np.median(one)) for one in near if one.size]


def _has(times: np.ndarray, wanted: np.ndarray, within: float) -> np.ndarray:
    """Whether there is a time near each wanted one."""
    right = np.searchsorted(times, wanted - within)
    return np.asarray(times[np.minimum(right, len(times) - 1)] - wanted <= within) & (right < len(times))
