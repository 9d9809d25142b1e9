"""Whether the units are single neurons: spikes within the refractory period come from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult, counted

if TYPE_CHECKING:
    import pandas as pd

MAX_CONTAMINATION = 0.1
"""Part of foreign spikes beyond which a unit is no single neuron: that of the International Brain Laboratory's
criterion ("Spike sorting pipeline for the International Brain Laboratory", 2022)."""
MAX_SHARE = 0.5
"""Of the units. A majority, by choice: some contaminated units are normal, and curation is there to reject them."""
COLUMN = "rp_contamination"


def refractory_violations(
    metrics_table: pd.DataFrame, *, max_contamination: float = MAX_CONTAMINATION, max_share: float = MAX_SHARE
) -> CheckResult:
    """Whether most units are free enough of foreign spikes.

    The contamination is SpikeInterface's `rp_contamination` (Llobet et al. 2022). The sliding estimate is left aside:
    SpikeInterface 0.105.3 expects too many violations in it (SpikeInterface#4682).

    Parameters
    ----------
    metrics_table : pd.DataFrame
        One row for each unit, with the column `rp_contamination`.
    max_contamination : float
        Part of foreign spikes up to which a unit counts as a single neuron.
    max_share : float
        Part of the units that may have more.
    """
    name = "refractory_violations"
    units = len(metrics_table)
    if units == 0:
        return CheckResult(name, True, "warn", "There are no units: nothing to check.", {"units": 0})
    if COLUMN in metrics_table:
        known = metrics_table[COLUMN].to_numpy(dtype=float, na_value=np.nan)
        known = known[np.isfinite(known)]
    else:
        known = np.empty(0)
    if known.size == 0:
        words = f"The contamination of none of {counted(units, 'unit')} is known ({COLUMN}): nothing to check."
        return CheckResult(name, True, "warn", words, {"units": units, "judged": 0})
    bad = int((known > max_contamination).sum())
    share = bad / known.size
    values = {
        "units": units,
        "judged": int(known.size),
        "contaminated": bad,
        "contaminated_percent": 100 * share,
        "median_contamination_percent": 100 * float(np.median(known)),
    }
    seen = (
        f"{bad} of {counted(int(known.size), 'unit')} ({100 * share:.0f} %) have an estimated contamination above "
        f"{100 * max_contamination:g} %"
    )
    if share <= max_share:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    words = (
        f"{seen}, more than {100 * max_share:g} %. Most units are mixtures of neurons or noise: look at noise, drift "
        "and bad channels, and at the sorter's thresholds, before you trust this recording."
    )
    return CheckResult(name, False, "warn", words, values)
