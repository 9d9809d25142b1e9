"""What the figures of units share: how kept, rejected and duplicate units look, the criteria, and which are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sort_assets.figures.style import BLUE, GREY, ORANGE, VERMILLION

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseSorting

KEPT, REJECTED, DUPLICATE, UNDECIDED = "kept", "rejected", "duplicate", "undecided"


@dataclass(frozen=True)
class VerdictMark:
    """How units with one verdict look.

    Attributes
    ----------
    colour, marker, hatch : str
        Of matplotlib; the colours differ for every kind of colour vision, markers and hatches also without colour.
    """

    colour: str
    marker: str
    hatch: str


MARKS = {
    KEPT: VerdictMark(BLUE, "o", ""),
    REJECTED: VerdictMark(VERMILLION, "X", "////"),
    DUPLICATE: VerdictMark(ORANGE, "s", "...."),
    UNDECIDED: VerdictMark(GREY, "D", ""),
}
"""How each verdict looks, in the order of legends."""


class MetricCriterion(NamedTuple):
    """A threshold on a metric.

    Attributes
    ----------
    name : str
        Column of the metrics table.
    greater, less : float or None
        Smallest and largest value that is allowed, themselves included; None does not ask.
    label : str
        The metric in words, with its unit: "Firing rate (Hz)".
    absolute : bool
        Whether the sign of the value is left out.
    """

    name: str
    greater: float | None
    less: float | None
    label: str
    absolute: bool = False

    def allows(self, values: np.ndarray) -> np.ndarray:
        """Whether each value is allowed, shape as `values`; a value that is not known (NaN) is not judged: True."""
        values = np.abs(values) if self.absolute else np.asarray(values)
        allowed = np.ones(values.shape, dtype=bool)
        if self.greater is not None:
            allowed &= ~(values < self.greater)
        if self.less is not None:
            allowed &= ~(values > self.less)
        return allowed


def unit_verdicts(decisions: pd.DataFrame) -> dict[str, str]:
    """The verdict on each unit: kept, rejected or duplicate.

    Parameters
    ----------
    decisions : pd.DataFrame
        Index unit id; columns `kept` and `label`.
    """
    verdicts = {}
    for unit_id, kept, label in zip(decisions.index, decisions["kept"], decisions["label"], strict=True):
        verdicts[str(unit_id)] = KEPT if bool(kept) else DUPLICATE if label == DUPLICATE else REJECTED
    return verdicts


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats, shape (units,); NaN where a value, or the whole column, is missing."""
    import pandas as pd

    if column not in table:
        return np.full(len(table), np.nan)
    return np.asarray(pd.to_numeric(table[column], errors="coerce").astype("Float64").to_numpy(float, na_value=np.nan))


def most_active_units(sorting: BaseSorting, max_units: int, unit_ids: Sequence[object] | None = None) -> np.ndarray:
    """Indices into `sorting.unit_ids` of the units with the most spikes, in the order of the sorting.

    Parameters
    ----------
    sorting : BaseSorting
    max_units : int
        How many are chosen at most.
    unit_ids : sequence or None
        Choose among these, which are compared as text; None chooses among all.
    """
    candidates = np.arange(sorting.get_num_units())
    if unit_ids is not None:
        wanted = {str(unit_id) for unit_id in unit_ids}
        candidates = np.array([i for i in candidates if str(sorting.unit_ids[i]) in wanted], dtype=int)
    if len(candidates) <= max_units:
        return candidates
    spikes = np.asarray(sorting.count_num_spikes_per_unit(outputs="array"))[candidates]
    return np.sort(candidates[np.argsort(-spikes, kind="stable")[:max_units]])


def title_of_choice(subject: str, shown: int, available: int, kind: str = "") -> str:
    """Title of a figure that shows some of the units: "Amplitudes of the 12 of 500 kept units with the most spikes"."""
    units = f"{kind} unit".strip() + ("" if available == 1 else "s")
    if shown < available:
        return f"{subject} of the {shown} of {available:,} {units} with the most spikes"
    return f"{subject} of {available:,} {units}"


def no_units(kind: str = "") -> str:
    """What a figure says that has nothing to show: "No rejected units", and without a kind "No units found"."""
    return f"No {kind} units" if kind else "No units found"
