"""Whether the tissue moved further along the probe than from one contact to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult, counted

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

COLUMN = "drift_ptp"


def drift_within_pitch(metrics_table: pd.DataFrame, channel_positions_um: ArrayLike | None) -> CheckResult:
    """Whether the drift of the recording is smaller than the distance between contacts.

    The drift is the median over units of SpikeInterface's `drift_ptp`: from the lowest to the highest median position
    of a unit's spikes. The pitch is the median distance of a contact to its nearest neighbour. Units that move further
    change the contact on which they are largest, and sorters without drift correction split or lose them.

    Parameters
    ----------
    metrics_table : pd.DataFrame
        One row for each unit, with the column `drift_ptp` in micrometres.
    channel_positions_um : array_like or None
        Positions of the channels in micrometres, shape (channels, 2 or 3); None when they are not known.
    """
    name = "drift_within_pitch"
    units = len(metrics_table)
    if units == 0:
        return CheckResult(name, True, "warn", "There are no units: nothing to check.", {"units": 0})
    pitch_um = contact_pitch(channel_positions_um)
    if pitch_um is None:
        words = "The recording has no positions of at least two contacts: nothing to check."
        return CheckResult(name, True, "warn", words, {"units": units})
    drift_um = np.empty(0)
    if COLUMN in metrics_table:
        drift_um = metrics_table[COLUMN].to_numpy(dtype=float, na_value=np.nan)
        drift_um = drift_um[np.isfinite(drift_um)]
    values: dict[str, float | int | str] = {"units": units, "judged": int(drift_um.size), "pitch_um": pitch_um}
    if drift_um.size == 0:
        words = (
            f"The drift of none of {counted(units, 'unit')} is known ({COLUMN}); short recordings and units with few "
            "spikes have none. Nothing to check."
        )
        return CheckResult(name, True, "warn", words, values)
    median_um = float(np.median(drift_um))
    beyond = int((drift_um > pitch_um).sum())
    values |= {
        "median_drift_um": median_um,
        "largest_drift_um": float(drift_um.max()),
        "units_beyond_pitch": beyond,
    }
    seen = (
        f"Units move by {median_um:.3g} µm (median of {drift_um.size}), {beyond} of them further than the contacts are "
        f"apart ({pitch_um:.3g} µm)"
    )
    if median_um <= pitch_um:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    words = (
        f"{seen}. Look at the drift map; sort with drift correction (for Kilosort4 nblocks of at least 1), or leave "
        "the part out in which the probe moves."
    )
    return CheckResult(name, False, "warn", words, values)


def contact_pitch(channel_positions_um: ArrayLike | None) -> float | None:
    """Median distance of a contact to its nearest neighbour, in micrometres; None with fewer than two positions."""
    from scipy.spatial import cKDTree

    if channel_positions_um is None:
        return None
    positions = np.asarray(channel_positions_um, dtype=float)
    if positions.ndim != 2 or not np.isfinite(positions).all():
        return None
    positions = np.unique(positions, axis=0)
    if len(positions) < 2:
        return None
    distances, _ = cKDTree(positions).query(positions, k=2)
    return float(np.median(distances[:, 1]))
