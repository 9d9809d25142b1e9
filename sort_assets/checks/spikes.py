"""Spikes themselves: inside the recording, in order, and each found once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult, counted

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

DUPLICATE_MS = 0.4
"""Spikes of one unit closer than this are one spike found twice: SpikeInterface's `delta_time` for duplicates, and less
than half of any refractory period."""
MAX_DUPLICATE_FRACTION = 0.05
"""Of a unit's spikes, above what a Poisson train of its rate has by chance."""
SHARED_FRACTION = 0.8
"""Part of its spikes that a unit has in common with another to be its duplicate: SpikeInterface's default."""
_UNITS_NAMED = 5


def spikes_in_order(sorting: BaseSorting, num_samples: int) -> CheckResult:
    """Whether all spikes are inside the recording, and sorted in time.

    What reads a sorting relies on both: waveforms are cut at the spikes, and SpikeInterface finds a unit's spikes by
    bisection.

    Parameters
    ----------
    sorting : BaseSorting
        Of one segment.
    num_samples : int
        Length of the recording.
    """
    name = "spikes_in_order"
    spikes = sorting.to_spike_vector()
    samples = spikes["sample_index"].astype("int64")
    if samples.size == 0:
        return CheckResult(name, True, "error", "There are no spikes: nothing to check.", {"spikes": 0})
    before, after = int((samples < 0).sum()), int((samples >= num_samples).sum())
    disordered = int((np.diff(samples) < 0).sum())
    values = {
        "spikes": int(samples.size),
        "before_the_start": before,
        "after_the_end": after,
        "out_of_order": disordered,
    }
    if not any((before, after, disordered)):
        return CheckResult(
            name, True, "error", f"All {samples.size:,} spikes are inside the recording and in order.", values
        )
    found = [
        *([f"{counted(before, 'spike')} before its start"] if before else []),
        *([f"{counted(after, 'spike')} after its end"] if after else []),
        *([f"{counted(disordered, 'spike')} earlier than the one before"] if disordered else []),
    ]
    words = (
        f"Of {samples.size:,} spikes in a recording of {num_samples:,} samples, {', '.join(found)}. Sort it again; "
        "if the recording was replaced or cut meanwhile, materialize all of it again."
    )
    return CheckResult(name, False, "error", words, values)


def duplicate_fraction(
    sorting: BaseSorting, *, max_fraction: float = MAX_DUPLICATE_FRACTION, duplicate_ms: float = DUPLICATE_MS
) -> CheckResult:
    """Whether spikes were found twice: within a unit, or as the spikes of two units.

    Within a unit, the spikes that follow another of it within `duplicate_ms` are counted, less what a Poisson train of
    the same rate has by chance (rate x `duplicate_ms`), since unresolved clusters of many neurons have no refractory
    period. Both are SpikeInterface's: `find_duplicated_spikes` and `find_redundant_units`.

    Parameters
    ----------
    sorting : BaseSorting
        Of one segment.
    max_fraction : float
        Of a unit's spikes.
    duplicate_ms : float
        In milliseconds.
    """
    from spikeinterface.curation.curation_tools import find_duplicated_spikes
    from spikeinterface.curation.remove_redundant import find_redundant_units

    name = "duplicate_fraction"
    counts = {unit: int(count) for unit, count in sorting.count_num_spikes_per_unit(outputs="dict").items()}
    firing = [unit for unit, count in counts.items() if count > 0]
    if not firing:
        return CheckResult(name, True, "warn", "There are no spikes: nothing to check.", {"units": 0})
    window = round(duplicate_ms / 1000 * sorting.sampling_frequency)
    span = int(np.ptp(sorting.to_spike_vector()["sample_index"])) + 1
    above: dict[str, float] = {}
    total = 0
    for unit in firing:
        train = np.sort(sorting.get_unit_spike_train(unit, segment_index=0))
        duplicates = len(find_duplicated_spikes(train, window, method="keep_first"))
        total += duplicates
        above[str(unit)] = duplicates / counts[unit] - min(counts[unit] / span * window, 1.0)
    bad = sorted((unit for unit, fraction in above.items() if fraction > max_fraction), key=lambda unit: -above[unit])
    pairs = (
        find_redundant_units(sorting.select_units(firing), delta_time=duplicate_ms, duplicate_threshold=SHARED_FRACTION)
        if len(firing) > 1
        else []
    )
    spikes = sum(counts.values())
    values = {
        "units": len(firing),
        "duplicated_spikes": total,
        "duplicated_spikes_percent": 100 * total / spikes,
        "worst_unit_percent": 100 * max(max(above.values()), 0.0),
        "units_with_duplicates": len(bad),
        "pairs_of_duplicate_units": len(pairs),
    }
    seen = (
        f"{total:,} of {spikes:,} spikes ({100 * total / spikes:.2g} %) follow another of their unit within "
        f"{duplicate_ms:g} ms"
    )
    if not bad and not pairs:
        return CheckResult(name, True, "warn", f"{seen}, and no two units have most of their spikes in common.", values)
    words = [f"{seen}."]
    if bad:
        named = ", ".join(f"{unit} ({100 * above[unit]:.0f} %)" for unit in bad[:_UNITS_NAMED])
        words.append(
            f"In {counted(len(bad), 'unit')} more than {100 * max_fraction:g} % of the spikes are duplicates beyond "
            f"chance: {named}{', …' if len(bad) > _UNITS_NAMED else ''}. That raises rates and refractory violations: "
            "look at the correlograms, and at the sorter's setting for duplicate spikes."
        )
    if pairs:
        named = ", ".join(f"{one} and {other}" for one, other in pairs[:_UNITS_NAMED])
        words.append(
            f"{counted(len(pairs), 'pair')} of units have more than {100 * SHARED_FRACTION:g} % of their spikes in "
            f"common: {named}{', …' if len(pairs) > _UNITS_NAMED else ''}. Curation keeps one of each unless "
            "curation.remove_duplicates is off."
        )
    return CheckResult(name, False, "warn", " ".join(words), values)
