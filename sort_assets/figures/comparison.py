"""What became of the units of one sorting in another one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from sort_assets.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LABEL_SIZE,
    LIGHT_GREY,
    NOTE_SIZE,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    TICK_SIZE,
    VERMILLION,
    add_horizontal_grid,
    message_figure,
    new_figure,
    style_axes,
)

FATE_COLORS: Mapping[str, str] = {
    "kept": BLUE,
    "moved": SKY_BLUE,
    "split": ORANGE,
    "merged": PURPLE,
    "lost": VERMILLION,
    "new": GREEN,
}
"""By what became of a unit; the bars are labelled too, so that nothing hangs on the colour."""
_MARKERS = {"kept": "o", "moved": "s", "split": "^", "merged": "v"}
_BINS = np.linspace(0, 1, 21)
_ROW_IN = 0.22
_MOST_ROWS = 60
_FATES_TITLE = "What became of the units"


def draw_fates(counts: Mapping[str, int]) -> Figure:
    """Draw how many units were kept, moved, split, merged and lost, and how many are new.

    Parameters
    ----------
    counts : mapping
        Units by fate.
    """
    if not any(counts.values()):
        return message_figure("Neither sorting has units", title=_FATES_TITLE)
    figure = new_figure(height_in=0.9 + 0.28 * len(counts))
    axes = figure.add_subplot()
    names = list(counts)
    bars = axes.barh(names, list(counts.values()), color=[FATE_COLORS.get(name, GREY) for name in names])
    axes.bar_label(bars, fontsize=TICK_SIZE, padding=3)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xmargin(0.1)
    style_axes(axes, title=_FATES_TITLE, x_label="Units (of the earlier sorting; new ones of the later)")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def draw_agreement(pairs: pd.DataFrame, match: float) -> Figure:
    """Draw the agreement of the earlier units with what they became, and their rates before and now.

    Parameters
    ----------
    pairs : pd.DataFrame
        A row for each pair of units that belong together, and for each that is lost or new; with the columns `fate`,
        `old_unit`, `agreement`, `old_rate_hz` and `new_rate_hz`.
    match : float
        Agreement from which units are the same.
    """
    if pairs.empty:
        return message_figure("Neither sorting has units", title="Agreement")
    figure = new_figure(height_in=3.0)
    left, right = figure.subplots(1, 2)
    _draw_agreements(left, pairs, match)
    _draw_rates(right, pairs)
    return figure


def _draw_agreements(axes: Axes, pairs: pd.DataFrame, match: float) -> None:
    old = pairs.dropna(subset="old_unit")
    best = old.assign(agreement=old["agreement"].fillna(0.0)).sort_values("agreement").groupby("old_unit").last()
    parts = [best.loc[best["fate"] == fate, "agreement"].to_numpy(float) for fate in FATE_COLORS]
    shown = [(fate, part) for fate, part in zip(FATE_COLORS, parts, strict=True) if len(part)]
    if shown:
        colors = [FATE_COLORS[fate] for fate, _ in shown]
        labels = [fate for fate, _ in shown]
        axes.hist([part for _, part in shown], bins=_BINS.tolist(), stacked=True, color=colors, label=labels)
        axes.legend(fontsize=NOTE_SIZE, frameon=False, loc="upper left")
    axes.axvline(match, color=BLACK, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, 1)
    style_axes(axes, title="Agreement", x_label="Shared spikes / spikes of either", y_label="Earlier units")
    add_horizontal_grid(axes)


def _draw_rates(axes: Axes, pairs: pd.DataFrame) -> None:
    both = pairs.dropna(subset=["old_unit", "new_unit"])
    rates = both[["old_rate_hz", "new_rate_hz"]].to_numpy(float)
    positive = (rates > 0).all(axis=1) if len(rates) else np.zeros(0, dtype=bool)
    for fate, marker in _MARKERS.items():
        of_fate = positive & (both["fate"] == fate).to_numpy(bool)
        if of_fate.any():
            axes.scatter(
                rates[of_fate, 0],
                rates[of_fate, 1],
                s=14,
                marker=marker,
                color=FATE_COLORS[fate],
                alpha=0.8,
                label=fate,
            )
    if positive.any():
        low, high = rates[positive].min() / 1.5, rates[positive].max() * 1.5
        axes.plot([low, high], [low, high], color=LIGHT_GREY, zorder=0)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FormatStrFormatter("%g"))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=NOTE_SIZE, frameon=False, loc="upper left")
    else:
        axes.text(0.5, 0.5, "No unit in both", ha="center", va="center", color=GREY, transform=axes.transAxes)
    style_axes(axes, title="Rates", x_label="Before (Hz)", y_label="Now (Hz)")


def draw_fates_by_recording(table: pd.DataFrame) -> Figure:
    """Draw what share of the units of each recording met which fate.

    Parameters
    ----------
    table : pd.DataFrame
        Index key of the recording, a column of counts for each fate, and `units_before`. Of many recordings, those with
        the smallest share of kept units are shown.
    """
    title = "What became of the units of each recording"
    table = table[table["units_before"] > 0]
    if table.empty:
        return message_figure("No recording has units to compare", title=title)
    order = (table["kept"] / table["units_before"]).sort_values(kind="stable").index
    shown = table.loc[order[:_MOST_ROWS]]
    figure = new_figure(height_in=1.3 + _ROW_IN * len(shown))
    axes = figure.add_subplot()
    start = np.zeros(len(shown))
    for fate in (one for one in FATE_COLORS if one != "new"):
        share = 100 * shown[fate].to_numpy(float) / shown["units_before"].to_numpy(float)
        axes.barh(np.arange(len(shown)), share, left=start, color=FATE_COLORS[fate], label=fate)
        start += share
    axes.set_yticks(np.arange(len(shown)), [_short(str(key)) for key in shown.index])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    style_axes(axes, x_label="Units of the earlier sorting (%)")
    axes.set_ylabel("Recording", fontsize=LABEL_SIZE)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    figure.legend(loc="outside lower center", ncols=5, fontsize=NOTE_SIZE, frameon=False)
    return figure


def _short(key: str, characters: int = 28) -> str:
    return key if len(key) <= characters else f"…{key[-(characters - 1) :]}"
