"""Recall of injected units against what is usual on the same rig."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sort_assets.checks.result import CheckResult, counted
from sort_assets.checks.usual_on_rig import too_short, usual_values

CHECK = "recall_as_usual"
_UNITS_EITHER_WAY = 0.5
"""Injected units by which a recall differs without a reason, as a standard deviation: what is taken at least, so that
a history of equal recalls calls no single unit unusual."""


def recall_as_usual(recall: float, num_units: int, history: Sequence[float]) -> CheckResult:
    """Whether injected units are found as usual on this rig; a higher recall is no warning.

    Parameters
    ----------
    recall : float
        Mean over the injected units, in [0, 1]; NaN where none was injected.
    num_units : int
        How many were injected.
    history : sequence of float
        Recalls of earlier measurements on the same rig, with the same sorter.
    """
    if not num_units or math.isnan(recall):
        return CheckResult(CHECK, True, "warn", "No unit was injected: nothing to check.", {"units": 0})
    values: dict[str, float | int | str] = {
        "recall": recall,
        "units": num_units,
        "measurements_in_history": len(history),
    }
    seen = f"The recall of {counted(num_units, 'injected unit')} is {recall:.2f}"
    usual = usual_values(history, lambda _: _UNITS_EITHER_WAY / num_units)
    if usual is None:
        return CheckResult(CHECK, True, "warn", f"{seen}. {too_short(history, 'measurement')}", values)
    low = usual.range[0]
    values |= {"usual_recall": usual.median, "usual_from": low}
    seen = f"{seen}; usual on this rig is {usual.median:.2f} (at least {low:.2f}, from {usual.number} measurements)"
    if recall >= low:
        return CheckResult(CHECK, True, "warn", f"{seen}.", values)
    remedy = (
        "Look at what was changed: parameters and version of the sorter, preprocessing, noise and bad channels of this "
        "recording."
    )
    return CheckResult(CHECK, False, "warn", f"{seen}: lower than usual. {remedy}", values)
