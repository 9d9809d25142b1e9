"""The verdict on each unit (kept, rejected, duplicate), and how it looks in every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sort_assets.figures.style import BLUE, GREY, ORANGE, VERMILLION

if TYPE_CHECKING:
    pass

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
    if column not in table:
        return np.full(len(table), np.nan)
    return np.asarray(pd.to_numeric(table[column], errors="coerce").astype("Float64").to_numpy(float, na_value=np.nan))
