"""How many units were kept, and what rejected the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.metric_criterion import MetricCriterion
from sort_assets.figures.style import (
    BLACK,
    GREY,
    NOTE_SIZE,
    TICK_SIZE,
    VERMILLION,
    message_figure,
    new_figure,
    style_axes,
)
from sort_assets.figures.unit_verdicts import DUPLICATE, KEPT, MARKS, REJECTED, unit_verdicts

_TITLE = "Kept and rejected units"


def draw_kept_fraction_bar(decisions: pd.DataFrame, criteria: Sequence[MetricCriterion]) -> Figure:
    """Draw how many units were kept, and beneath, how many each criterion rejected, the largest number first.

    Parameters
    ----------
    decisions : pd.DataFrame
        Index unit id; columns `label`, `kept`, `decided_by`, and `<criterion>_ok` for each criterion that was asked;
        `bombcell_label` where there is one. It may hold no units.
    criteria : sequence of MetricCriterion
        Those of the decisions.
    """
    if len(decisions) == 0:
        return message_figure("No units found", title=_TITLE)
    reasons = count_rejections(decisions, criteria)
    reasons_in = 0.28 * len(reasons)
    figure = new_figure(height_in=1.15 + (1.0 + reasons_in if reasons else 0))
    if not reasons:
        _draw_verdicts(figure.add_subplot(), decisions)
        return figure
    verdict_axes, reason_axes = figure.subplots(2, 1, height_ratios=[0.5, reasons_in + 0.3])
    _draw_verdicts(verdict_axes, decisions)
    _draw_reasons(reason_axes, reasons)
    return figure


@dataclass(frozen=True)
class Rejections:
    """How many units one thing rejected.

    Attributes
    ----------
    reason : str
        In words.
    units : int
        Units that were rejected for it, among other reasons or alone.
    alone : int
        Of them, those for which it was the only reason.
    """

    reason: str
    units: int
    alone: int


def count_rejections(decisions: pd.DataFrame, criteria: Sequence[MetricCriterion]) -> list[Rejections]:
    """The reasons for which units were rejected, the most frequent first; ties keep the order of the criteria.

    Parameters
    ----------
    decisions : pd.DataFrame
        As for `draw_kept_fraction_bar`.
    criteria : sequence of MetricCriterion
    """
    reasons_of_units = [_reasons(row, criteria) for _, row in decisions[~decisions["kept"].astype(bool)].iterrows()]
    words = [_words(criterion) for criterion in criteria]
    words += sorted({reason for reasons in reasons_of_units for reason in reasons} - set(words))
    counted = [
        Rejections(
            reason,
            units=sum(reason in reasons for reasons in reasons_of_units),
            alone=sum(reasons == [reason] for reasons in reasons_of_units),
        )
        for reason in words
    ]
    return sorted((one for one in counted if one.units), key=lambda one: -one.units)


def _reasons(decision: pd.Series, criteria: Sequence[MetricCriterion]) -> list[str]:
    """Why one unit was rejected. What a person, Bombcell or a duplicate decided does not count for the criteria."""
    decided_by, label = str(decision.get("decided_by", "")), str(decision["label"])
    if decided_by == "person":
        return [f"A person: {label}"]
    if label == DUPLICATE:
        return ["Duplicate of another unit"]
    failed = [_words(one) for one in criteria if _is_false(decision.get(f"{one.name}_ok"))]
    if decided_by == "bombcell":
        failed.append(f"Bombcell: {decision.get('bombcell_label', label)}")
    return failed or [f"Other: {label}"]


def _is_false(value: object) -> bool:
    return isinstance(value, bool | np.bool_) and not value


def _words(criterion: MetricCriterion) -> str:
    """Such as "SNR below 5"."""
    name, bracket, unit = criterion.label.rpartition(" (")
    name, unit = (name, f" {unit.rstrip(')')}") if bracket else (criterion.label, "")
    limits = []
    if criterion.greater is not None:
        limits.append(f"below {criterion.greater:g}")
    if criterion.less is not None:
        limits.append(f"above {criterion.less:g}")
    return f"{name} {' or '.join(limits)}{unit}"


def _draw_verdicts(axes: Axes, decisions: pd.DataFrame) -> None:
    """One bar of all units, divided by verdict."""
    verdicts = list(unit_verdicts(decisions).values())
    counts = {verdict: verdicts.count(verdict) for verdict in (KEPT, REJECTED, DUPLICATE)}
    left = 0
    for verdict, count in counts.items():
        if count:
            mark = MARKS[verdict]
            axes.barh(
                [0],
                [count],
                left=[left],
                height=0.9,
                color=mark.colour,
                hatch=mark.hatch,
                edgecolor="white",
                label=verdict,
            )
        left += count
    named = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items() if count)
    style_axes(axes, title=f"{left:,} unit{'' if left == 1 else 's'}: {named}")
    axes.set_xlim(0, left)
    axes.set_axis_off()
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        ncols=3,
        fontsize=TICK_SIZE,
        frameon=False,
        borderpad=0,
        borderaxespad=0.4,
    )


def _draw_reasons(axes: Axes, reasons: Sequence[Rejections]) -> None:
    """A bar for each reason, the first at the top; the solid part is of units that nothing else rejected."""
    places = np.arange(len(reasons))
    units, alone = np.array([one.units for one in reasons]), np.array([one.alone for one in reasons])
    axes.barh(places, alone, height=0.7, color=VERMILLION)
    axes.barh(places, units - alone, left=alone, height=0.7, color=VERMILLION, alpha=0.4, linewidth=0)
    for place, one in zip(places, reasons, strict=True):
        axes.annotate(
            f"{one.units:,}" if one.alone == one.units else f"{one.units:,} ({one.alone:,} alone)",
            (one.units, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=NOTE_SIZE,
            color=BLACK,
        )
    axes.set_yticks(places, [one.reason for one in reasons])
    axes.set_ylim(len(reasons) - 0.5, -0.5)
    # Room for the longest note beside the longest bar.
    axes.set_xlim(0, 1.25 * units.max())
    axes.locator_params(axis="x", nbins=6, integer=True)
    style_axes(axes, x_label="Units rejected; a unit may have several reasons", y_label="")
    axes.set_title("Dark: for this reason alone", fontsize=NOTE_SIZE, loc="right", color=GREY)
