"""Contamination by sliding refractory periods, of all units at once.

SpikeInterface 0.105.3 makes a sorting and a correlogram of two seconds for each unit, to read its first ten
milliseconds, and calls scipy's Poisson distribution for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.metrics.spike_kernels import count_short_intervals

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer

_CONFIDENCE = 0.9


def sliding_rp_violations(
    analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any],
    *,
    min_spikes: int = 0,
    bin_size_ms: float = 0.25,
    window_size_s: float = 1,
    exclude_ref_period_below_ms: float = 0.5,
    max_ref_period_ms: float = 10,
    contamination_values: np.ndarray | None = None,
) -> dict[Any, float]:
    """Least contamination that is ruled in with 90 % confidence, of each unit; NaN where none is.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        In one segment.
    unit_ids : sequence
        Of which it is computed.
    min_spikes, bin_size_ms, window_size_s, exclude_ref_period_below_ms, max_ref_period_ms, contamination_values
        As SpikeInterface's `compute_sliding_rp_violations` takes them, whose results these are.
    """
    from scipy.special import pdtr
    from spikeinterface.postprocessing.correlograms import _make_bins

    if contamination_values is None:
        contamination_values = np.arange(0.5, 35.5, 0.5) / 100
    bins_ms, _, bin_size = _make_bins(analyzer.sorting, 2 * window_size_s * 1000, bin_size_ms)
    edges_s = bins_ms[(len(bins_ms) - 1) // 2 :] / 1000
    edges_s = edges_s[: int(max_ref_period_ms / 1000 / (edges_s[1] - edges_s[0])) + 1]
    periods_s = edges_s[1:]
    tested = (edges_s[:-1] + edges_s[1:]) / 2 > exclude_ref_period_below_ms / 1000
    duration_s = analyzer.get_total_samples() / analyzer.sampling_frequency
    found = {}
    for unit_id in unit_ids:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        found[unit_id] = np.nan
        if len(train) <= min_spikes:
            continue
        counts = np.zeros(len(periods_s), dtype="int64")
        count_short_intervals(np.asarray(train, dtype="int64"), bin_size, counts)
        rate_hz = len(train) / duration_s
        foreign = len(train) * contamination_values[:, None]
        own = len(train) * (1 - contamination_values[:, None])
        expected = 2 * periods_s / (len(train) / rate_hz) * foreign * (own + (foreign - 1) / 2)
        confidence = 1 - pdtr(np.cumsum(counts), expected)
        ruled_in = (confidence[:, tested] > _CONFIDENCE).any(axis=1)
        if ruled_in.any():
            found[unit_id] = float(contamination_values[ruled_in.argmax()])
    return found
