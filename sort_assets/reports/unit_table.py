"""The table of all units of a report, from metrics and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.curation.criteria import Criterion
from sort_assets.figures.unit_verdicts import numbers, unit_verdicts
from sort_assets.metrics.columns import UNIT_METRICS
from sort_assets.reports.content import UnitColumn, UnitRow, UnitTable, UnitValue

if TYPE_CHECKING:
    import pandas as pd

# What a reader wants to know of a unit beside the criteria: how large, where, how steady.
_ALWAYS_SHOWN = ("amplitude_uv", "y_um", "presence_ratio", "amplitude_cutoff")
_COLUMNS = {column.name: column for column in UNIT_METRICS}


def make_unit_table(metrics: pd.DataFrame, decisions: pd.DataFrame, criteria: Sequence[Criterion]) -> UnitTable:
    """All units with their verdicts, the metrics that are criteria, amplitude, depth, presence and cutoff.

    Parameters
    ----------
    metrics : pd.DataFrame
        Index unit id, a column for each metric; columns and units may be missing.
    decisions : pd.DataFrame
        Index unit id; columns `label`, `kept`, `reason`, `decided_by`, and for each criterion its value and
        `<criterion>_ok`. Its units, in its order, are the rows.
    criteria : sequence of Criterion
        Those that were asked.
    """
    asked = {criterion.name: criterion for criterion in criteria}
    names = [*asked, *(name for name in _ALWAYS_SHOWN if name not in asked and name in metrics)]
    metrics = metrics.reindex(decisions.index)
    values = {name: numbers(decisions if name in asked and name in decisions else metrics, name) for name in names}
    failed = {name: _failed(decisions, f"{name}_ok") for name in names}
    verdicts = unit_verdicts(decisions)
    texts = {name: _texts(decisions, name) for name in ("label", "decided_by", "reason")}
    rows = tuple(
        UnitRow(
            unit_id=str(unit_id),
            verdict=verdicts[str(unit_id)],
            label=texts["label"][place],
            decided_by=texts["decided_by"][place],
            reason=texts["reason"][place],
            values=tuple(UnitValue(_number(values[name][place]), bool(failed[name][place])) for name in names),
        )
        for place, unit_id in enumerate(decisions.index)
    )
    return UnitTable(tuple(_column(name, asked.get(name)) for name in names), rows)


def _column(name: str, criterion: Criterion | None) -> UnitColumn:
    if criterion is not None:
        return UnitColumn(criterion.label, criterion.asked(), criterion.column.description)
    column = _COLUMNS[name]
    words = {"amplitude_uv": "amplitude", "y_um": "depth, y"}.get(name, name.replace("_", " "))
    label = words[0].upper() + words[1:] + (f" ({column.unit})" if column.unit else "")
    return UnitColumn(label, "", column.description)


def _failed(decisions: pd.DataFrame, column: str) -> np.ndarray:
    """Whether each unit fails, shape (units,); a missing verdict is none."""
    if column not in decisions:
        return np.zeros(len(decisions), dtype=bool)
    return ~decisions[column].astype("boolean").fillna(True).to_numpy(bool)


def _texts(decisions: pd.DataFrame, column: str) -> list[str]:
    if column not in decisions:
        return [""] * len(decisions)
    return ["" if text is None or text != text else str(text) for text in decisions[column]]


def _number(value: float) -> str:
    """Three digits, and whole numbers whole; empty where it is not known."""
    if not np.isfinite(value):
        return "" if np.isnan(value) else f"{value}"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
