"""What several sorters, or several settings, make of one recording."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.accuracy import Interval
from sort_assets.figures.style import (
    BLUE,
    LEGEND_ROW_IN,
    SKY_BLUE,
    TICK_SIZE,
    VERMILLION,
    add_legend_below,
    message_figure,
    new_figure,
    shorten_id,
    style_axes,
)

_ROW_IN = 0.3
_LONGEST_NAME = 24
_MOST = 40


def draw_variants(
    names: Sequence[str], found: Sequence[int], kept: Sequence[int | None], recalls: Sequence[Interval]
) -> Figure:
    """Draw the units that each sorting found and kept and, where it was measured, its recall of injected units.

    Parameters
    ----------
    names : sequence of str
        Of the sortings, the recording's own first; the first 40 are drawn.
    found : sequence of int
        Units.
    kept : sequence of (int or None)
        Units that pass the criteria of curation; None where that is not known.
    recalls : sequence of (float, float, float)
        Mean over the injected units, and the ends of its 95 % interval; NaN where nothing was measured.
    """
    if not names:
        return message_figure("No variant was tried", title="Units by variant")
    names, found, kept, recalls = names[:_MOST], found[:_MOST], kept[:_MOST], recalls[:_MOST]
    measured = any(not math.isnan(one[0]) for one in recalls)
    figure = new_figure(height_in=1.0 + _ROW_IN * len(names) + 3 * LEGEND_ROW_IN)
    panels = figure.subplots(1, 2 if measured else 1, sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    units = panels[0]
    bars = units.barh(rows, found, color=SKY_BLUE, label="units found")
    units.barh(rows, [one or 0 for one in kept], height=0.45, color=BLUE, label="units kept by the criteria")
    units.bar_label(bars, fontsize=TICK_SIZE, padding=3)
    units.set_yticks(rows, [shorten_id(name, _LONGEST_NAME) for name in names])
    units.invert_yaxis()
    units.set_xmargin(0.12)
    style_axes(units, title="Units by variant", x_label="Units")
    units.tick_params(axis="y", length=0)
    if measured:
        _draw_recalls(panels[1], rows, recalls)
    add_legend_below(figure)
    return figure


def _draw_recalls(axes: Axes, rows: np.ndarray, recalls: Sequence[Interval]) -> None:
    means = np.array([one[0] for one in recalls])
    errors = np.abs(np.array([[one[0] - one[1], one[2] - one[0]] for one in recalls]).T)
    axes.errorbar(means, rows, xerr=errors, fmt="o", color=VERMILLION, capsize=3, label="recall, 95 % interval")
    axes.set_xlim(-0.03, 1.03)
    style_axes(axes, title="Injected units", x_label="Recall")
    axes.tick_params(axis="y", length=0)
