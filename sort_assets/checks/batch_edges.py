"""Spikes that are missing at the edges of the sorter's batches.

Kilosort 2.5 and 3 lost the spikes of about 7 ms at each edge, every 2.18 s, for years before anybody saw it
(Kilosort#594).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

HALF_WIDTHS_MS = (7.0, 3.0)
"""On either side of an edge. The narrow one finds short holes, which the wide one dilutes."""
MAX_MISSING = 0.25
"""Part of the spikes around the edges. The loss of Kilosort#594 is half of the wide window or more."""
SIGNIFICANCE = 1e-4
_FEWEST_WINDOWS = 20


def holes_at_batch_edges(
    sorting: BaseSorting,
    batch_samples: int | None,
    *,
    half_widths_ms: tuple[float, ...] = HALF_WIDTHS_MS,
    max_missing: float = MAX_MISSING,
    significance: float = SIGNIFICANCE,
) -> CheckResult:
    """Whether all units together fire as much around the edges of the sorter's batches as elsewhere.

    The spikes are laid over each other with the period of the batches, and counted in the window around the edge and
    in all other windows of that width. Without holes the former is Poisson distributed with the mean of the latter,
    and, in a population that bursts together, overdispersed as much as these are among each other (quasi-Poisson,
    McCullagh & Nelder 1989). There is a hole where so few spikes have a probability below `significance`, shared among
    the widths, and at least `max_missing` of them are missing.

    Parameters
    ----------
    sorting : BaseSorting
        Of one segment, which begins with the sorter's first batch.
    batch_samples : int or None
        Length of a batch; None for a sorter without batches.
    half_widths_ms : tuple of float
        Half widths of the windows that are tried, in milliseconds.
    max_missing : float
        Part of the spikes around the edges that may be missing.
    significance : float
        Probability of an alarm without a hole.
    """
    name = "holes_at_batch_edges"
    if not batch_samples:
        return CheckResult(name, True, "warn", "The sorter does not work in batches: nothing to check.")
    samples = np.asarray(sorting.to_spike_vector()["sample_index"], dtype="int64")
    # Whole periods, each with an edge in its middle.
    num_edges = int((samples.max() + 1 - batch_samples // 2) // batch_samples) if samples.size else 0
    values: dict[str, float | int | str] = {"spikes": int(samples.size), "edges": max(num_edges, 0)}
    if num_edges < 1:
        words = "There are no spikes on both sides of an edge between batches: nothing to check."
        return CheckResult(name, True, "warn", words, values)
    start = batch_samples - batch_samples // 2
    inside = samples[(samples >= start) & (samples < start + num_edges * batch_samples)]
    phases = (inside - start) % batch_samples - batch_samples // 2

    limit = significance / len(half_widths_ms)
    tried = []
    for half_ms in half_widths_ms:
        half = max(round(half_ms / 1000 * sorting.sampling_frequency), 1)
        found = _around_edge(phases, batch_samples, half)
        if found is not None and math.exp(-found[1] / found[2]) < limit:
            tried.append((half_ms, *found))
    if not tried:
        words = (
            f"Too few spikes ({inside.size:,} around {num_edges:,} edges, for how evenly the units fire) to tell "
            "holes at batch edges from chance."
        )
        return CheckResult(name, True, "warn", words, values)
    alarms = [one for one in tried if _probability(*one[1:]) < limit and 1 - one[1] / one[2] >= max_missing]
    half_ms, count, expected, dispersion = min(alarms or tried, key=lambda one: _probability(*one[1:]))
    missing, probability = 1 - count / expected, _probability(count, expected, dispersion)
    values |= {
        "spikes_at_edges": count,
        "expected_at_edges": expected,
        "missing_percent": 100 * missing,
        "probability": probability,
        "half_width_ms": half_ms,
    }
    seen = (
        f"Within {half_ms:g} ms of {num_edges:,} batch edges lie {count:,} spikes; as many as elsewhere would be "
        f"{expected:,.0f}"
    )
    if not alarms:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    words = (
        f"{seen}: {100 * missing:.0f} % are missing (probability by chance {probability:.1g}). The sorter loses "
        f"spikes every {batch_samples / sorting.sampling_frequency:.4g} s. Use another version of it, or leave these "
        "times out of every analysis of timing."
    )
    return CheckResult(name, False, "warn", words, values)


def _around_edge(phases: np.ndarray, period: int, half: int) -> tuple[int, float, float] | None:
    """Spikes in the window around the edge, their expected number, and how overdispersed windows are.

    None where there are too few windows, or spikes, to know.
    """
    width = 2 * half
    on_each_side = (period // 2 - half) // width
    if 2 * on_each_side < _FEWEST_WINDOWS:
        return None
    windows = (phases + half) // width + on_each_side
    windows = windows[(windows >= 0) & (windows <= 2 * on_each_side)]
    counts = np.bincount(windows, minlength=2 * on_each_side + 1)
    others = np.delete(counts, on_each_side)
    expected = float(others.mean())
    if expected == 0:
        return None
    return int(counts[on_each_side]), expected, max(float(others.var(ddof=1)) / expected, 1.0)


def _probability(count: int, expected: float, dispersion: float) -> float:
    """Of so few spikes or fewer."""
    from scipy.special import gammaincc

    # The distribution function of a Poisson variable, for numbers that need not be whole.
    return float(gammaincc(count / dispersion + 1, expected / dispersion))
