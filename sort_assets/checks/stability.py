"""Whether the recording holds out: activity does not collapse, and units do not vanish halfway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult, counted

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

_BINS = 30
_SHORTEST_BIN_S = 10.0
_FEWEST_BINS = 6
_COLLAPSED = 0.2
"""Of the usual activity."""
_FEWEST_SPIKES = 50
"""Expected in what is silent, so that chance does not explain the silence even of a unit that fires in bursts."""
_REGULAR_SPIKES = 10
"""Fewest spikes in a usual bin of a unit whose absence from a bin means something."""
_FEWEST_UNITS = 3
"""Of which together something can be said: a neuron alone may rest for minutes."""
_SILENT_PART = 0.25
"""Of the recording, at its beginning or end."""
_VANISHED_SHARE = 0.2
"""Of the units. Single ones come and go; this and the other limits here are choices, tried on simulated sortings."""


def stability(sorting: BaseSorting, duration_s: float) -> CheckResult:
    """Whether activity goes on, and the units stay, from the beginning to the end.

    The recording is cut into at most 30 bins of at least 10 s. What a bin usually holds is its third quartile over
    bins, so that it is known too when most of the recording is silent. A part does not hold out when all units
    together fire less than a fifth of what is usual, or when fewer than half of the units that usually fire at least
    10 spikes are there; of fewer than three units neither is asked. Units vanish (Kilosort#698) or appear late when
    they are silent for the last or first quarter of the recording, in which 50 of their spikes would be expected.

    Parameters
    ----------
    sorting : BaseSorting
        Of one segment.
    duration_s : float
        Length of the recording in seconds.
    """
    name = "stability"
    units = sorting.get_num_units()
    spikes = sorting.to_spike_vector()
    if len(spikes) == 0:
        return CheckResult(name, True, "warn", "There are no spikes: nothing to check.", {"units": units})
    num_bins = int(min(_BINS, duration_s // _SHORTEST_BIN_S))
    if num_bins < _FEWEST_BINS:
        short = f"The recording is too short ({duration_s:.3g} s of at least {_FEWEST_BINS * _SHORTEST_BIN_S:g} s)"
        return CheckResult(
            name, True, "warn", f"{short}: nothing to check.", {"units": units, "duration_s": duration_s}
        )

    bin_s = duration_s / num_bins
    bins = (spikes["sample_index"] / sorting.sampling_frequency // bin_s).astype(int).clip(0, num_bins - 1)
    counts = np.bincount(spikes["unit_index"] * num_bins + bins, minlength=units * num_bins).reshape(units, num_bins)
    usual = float(np.quantile(counts.sum(axis=0), 0.75))
    quiet = np.zeros(num_bins, dtype=bool)
    if usual >= _FEWEST_SPIKES and _effective_units(counts) >= _FEWEST_UNITS:
        quiet = counts.sum(axis=0) < _COLLAPSED * usual
    regular = counts[np.quantile(counts, 0.75, axis=1) >= _REGULAR_SPIKES]
    deserted = np.zeros(num_bins, dtype=bool)
    if len(regular) >= _FEWEST_UNITS:
        deserted = (regular > 0).sum(axis=0) < len(regular) / 2
    judged, vanished, late = _silent_ends(counts)
    parts = _parts(quiet | deserted, bin_s)

    active = (counts > 0).sum(axis=0)
    values: dict[str, float | int | str] = {
        "units": units,
        "bin_s": bin_s,
        "usual_rate_hz": usual / bin_s,
        "lowest_rate_hz": float(counts.sum(axis=0).min()) / bin_s,
        "fewest_active_units": int(active.min()),
        "most_active_units": int(active.max()),
        "quiet_s": float(bin_s * (quiet | deserted).sum()),
        "vanished_units": vanished,
        "late_units": late,
    }
    words = []
    if parts:
        named = ", ".join(f"{start:.0f} to {end:.0f} s" for start, end in parts)
        words.append(
            f"Activity collapses from {named}: the rate of all units falls from usually {usual / bin_s:.3g} Hz to "
            f"{values['lowest_rate_hz']:.3g} Hz, the number of active units from {active.max()} to {active.min()}."
        )
    if judged and (vanished + late) / judged > _VANISHED_SHARE:
        words.append(
            f"Of {counted(judged, 'unit')} that fire enough to tell, {vanished} fall silent for good before the last "
            f"quarter, and {late} are silent through the first."
        )
    if not words:
        seen = f"From beginning to end {active.min()} to {active.max()} units are active; no part falls silent."
        return CheckResult(name, True, "warn", seen, values)
    words.append(
        "Look at the raster and the drift map: the probe may have moved, a file may be of another session, or the "
        "sorter lost the units. Analyse, or sort, only the part that holds out (recording.start_s and end_s)."
    )
    return CheckResult(name, False, "warn", " ".join(words), values)


def _silent_ends(counts: np.ndarray) -> tuple[int, int, int]:
    """Units that fire enough to tell, of them those that vanish, and those that appear late."""
    num_bins = counts.shape[1]
    end_bins = int(np.ceil(_SILENT_PART * num_bins))
    judged = vanished = late = 0
    for unit in counts:
        firing = np.flatnonzero(unit)
        if firing.size == 0:
            continue
        first, last = int(firing[0]), int(firing[-1])
        per_bin = unit.sum() / (last - first + 1)
        if per_bin * end_bins < _FEWEST_SPIKES:
            continue
        judged += 1
        vanished += num_bins - 1 - last >= end_bins
        late += first >= end_bins
    return judged, vanished, late


def _effective_units(counts: np.ndarray) -> float:
    """How many units of equal rates would share the spikes as evenly (inverse Simpson index)."""
    shares = counts.sum(axis=1) / counts.sum()
    return float(1 / (shares**2).sum())


def _parts(bad: np.ndarray, bin_s: float) -> list[tuple[float, float]]:
    """Beginnings and ends of the bins that are bad, neighbours joined, in seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(int)))
    return [(float(start * bin_s), float(end * bin_s)) for start, end in edges.reshape(-1, 2)]
