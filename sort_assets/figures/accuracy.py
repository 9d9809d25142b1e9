"""How well injected units were found: recall and precision by what the units have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.style import (
    BLUE,
    GREY,
    LEGEND_ROW_IN,
    NOTE_SIZE,
    VERMILLION,
    add_horizontal_grid,
    add_legend_below,
    message_figure,
    new_figure,
    style_axes,
)

_TITLE = "Recall and precision of injected units"
_OVER_TIME = "Recall of each measurement"
_DATES = 6
_PANEL_IN = 2.0
_APART = 0.12
"""Distance of the two marks of a group from its middle, in groups."""

Interval = tuple[float, float, float]
"""A mean, and the ends of its interval; NaN where there is none."""


def draw_accuracy(groups: Mapping[str, Sequence[tuple[float, float, int, Interval, Interval]]]) -> Figure:
    """Draw a panel for each quantity, with recall and precision of each group of units and their 95 % intervals.

    Parameters
    ----------
    groups : Mapping
        By quantity, as the label of its axis ("Signal-to-noise ratio"): of each group from where and below where the
        quantity is, how many units were injected, and their recall and precision.
    """
    shown = {label: [one for one in some if one[2]] for label, some in groups.items()}
    shown = {label: some for label, some in shown.items() if some}
    if not shown:
        return message_figure("No unit was injected", title=_TITLE)
    figure = new_figure(height_in=0.5 + len(shown) * _PANEL_IN + 2 * LEGEND_ROW_IN)
    panels = np.atleast_1d(figure.subplots(len(shown), 1))
    for number, (axes, (label, some)) in enumerate(zip(panels, shown.items(), strict=True)):
        _draw_panel(axes, label, some, title="" if number else _TITLE, labelled=not number)
    add_legend_below(figure)
    return figure


def draw_recall_over_time(days: Sequence[str], recalls: Sequence[float], kept: Sequence[bool]) -> Figure:
    """Draw the recall of each measurement of a rig, the oldest first, at equal distances.

    Parameters
    ----------
    days : sequence of str
        When each was made, such as "2026-12-01".
    recalls : sequence of float
        Means over the units of each.
    kept : sequence of bool
        Whether each was sorted with the settings of the newest one; others are drawn hollow.
    """
    if not len(days):
        return message_figure("Accuracy has not been measured yet", title=_OVER_TIME)
    figure = new_figure(height_in=2.4 + 2 * LEGEND_ROW_IN)
    axes = figure.subplots()
    places, same, values = np.arange(len(days)), np.asarray(kept, dtype=bool), np.asarray(recalls, dtype=float)
    axes.plot(places, values, color=GREY, linewidth=0.8, zorder=1)
    for chosen, face, name in (
        (same, BLUE, "Sorted with the settings of the newest measurement"),
        (~same, "white", "Sorted with other settings"),
    ):
        if chosen.any():
            axes.scatter(places[chosen], values[chosen], color=face, edgecolors=BLUE, zorder=2, label=name)
    shown = places[:: max(1, math.ceil(len(days) / _DATES))]
    axes.set_xticks(shown, [days[place] for place in shown])
    axes.set_ylim(-0.03, 1.05)
    add_horizontal_grid(axes)
    style_axes(axes, title=_OVER_TIME, x_label="Measurement", y_label="Mean recall")
    add_legend_below(figure)
    return figure


def _draw_panel(
    axes: Axes,
    label: str,
    groups: Sequence[tuple[float, float, int, Interval, Interval]],
    *,
    title: str,
    labelled: bool,
) -> None:
    places = np.arange(len(groups))
    recalls, precisions = [one[3] for one in groups], [one[4] for one in groups]
    for shift, marker, colour, name, values in (
        (-_APART, "o", BLUE, "Recall: part of the injected spikes that were found", recalls),
        (_APART, "s", VERMILLION, "Precision: part of the found unit's spikes that are true", precisions),
    ):
        means, lows, highs = np.array(values, dtype=float).T
        axes.errorbar(
            places + shift,
            means,
            yerr=np.clip([means - lows, highs - means], 0, None),
            fmt=marker,
            color=colour,
            capsize=3,
            markersize=5,
            linewidth=1.2,
            label=name if labelled else None,
        )
    for place, one in zip(places, groups, strict=True):
        axes.annotate(
            f"{one[2]} unit{'' if one[2] == 1 else 's'}",
            (place, 1.08),
            ha="center",
            va="bottom",
            fontsize=NOTE_SIZE,
            color=GREY,
            annotation_clip=False,
        )
    axes.set_xticks(places, [range_label(low, high) for low, high, *_ in groups])
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(-0.03, 1.2)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    add_horizontal_grid(axes)
    style_axes(axes, title=title, x_label=label, y_label="Part of spikes")


def range_label(low: float, high: float) -> str:
    """Such as "4 to 6", "below 4" or "from 13"."""
    if low == 0 and math.isfinite(high):
        return f"below {high:.3g}"
    if math.isinf(high):
        return f"from {low:.3g}"
    return f"{low:.4g} to {high:.4g}"
