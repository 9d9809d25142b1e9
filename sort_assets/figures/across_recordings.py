"""All recordings together: units of each, their quality over time, and what failed.

The tables have one row for each recording, its key as index, and the columns that a figure names. Recordings stand in
the order in which they were sorted, at equal distances: sorts come in batches, between which nothing happens for weeks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sort_assets.figures.style import (
    BLACK,
    BLUE,
    GREY,
    LABEL_SIZE,
    LEGEND_ROW_IN,
    ORANGE,
    SKY_BLUE,
    TICK_SIZE,
    VERMILLION,
    add_horizontal_grid,
    add_legend_below,
    message_figure,
    new_figure,
    style_axes,
)

_BARS = 265
"""Most bars in a figure, of two pixels each. With more recordings, neighbours share a bar that shows their mean."""
_NAMED = 20
_CHARACTERS = 26
_CHARACTERS_IN_WIDTH = 80
_DATES = 6
_RUNNING = 15
"""Number of recordings in the window of the running median."""
_QUALITY = (
    ("snr", "Median\nSNR", BLUE),
    ("isi_violations_percent", "Median ISI\nviolations (%)", VERMILLION),
    ("amplitude_uv", "Median\namplitude (µV)", SKY_BLUE),
    ("noise_uv", "Median\nnoise (µV)", GREY),
)
_CLASSES_NAMED = 20
_NOTHING = "No recording has been sorted yet"


def draw_units_per_recording(table: pd.DataFrame) -> Figure:
    """Draw how many units each recording has: kept, rejected, or not curated.

    Parameters
    ----------
    table : pd.DataFrame
        With the columns `sorted_at`, `units_found`, `units_kept` and `units_rejected`; rows without `units_found` are
        left out.
    """
    ordered = _in_order(table, "units_found")
    if ordered.empty:
        return message_figure(_NOTHING, title="Units of each recording")
    found = _numbers(ordered, "units_found")
    kept, rejected = _numbers(ordered, "units_kept"), _numbers(ordered, "units_rejected")
    curated = np.isfinite(kept) & np.isfinite(rejected)
    parts = [
        ("kept", np.where(curated, kept, 0.0), BLUE),
        ("rejected", np.where(curated, rejected, 0.0), ORANGE),
        ("not curated", np.where(curated, 0.0, found), GREY),
    ]
    shown = [(label, values, colour) for label, values, colour in parts if values.any()]
    none = found == 0

    figure = new_figure(3.1 + _names_in(ordered) + LEGEND_ROW_IN * (len(shown) + bool(none.any())))
    axes = figure.add_subplot()
    together = -(-len(found) // _BARS)
    _stack(axes, [(label, _means(values, together), colour) for label, values, colour in shown], together, len(found))
    if none.any():
        axes.plot(
            np.flatnonzero(none),
            np.zeros(none.sum()),
            "x",
            color=VERMILLION,
            markersize=5,
            label="no units",
            clip_on=False,
        )
    counted = f"{len(found):,} recording{'' if len(found) == 1 else 's'}, {int(found.sum()):,} units"
    mean_of = f", mean of {together} recordings" if together > 1 else ""
    style_axes(axes, title=counted, x_label=_label_recordings(axes, ordered), y_label=f"Units{mean_of}")
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.0))
    add_horizontal_grid(axes)
    add_legend_below(figure)
    return figure


def draw_quality_over_time(table: pd.DataFrame) -> Figure:
    """Draw the medians over units of signal-to-noise ratio, refractory violations and amplitude, and the noise.

    Parameters
    ----------
    table : pd.DataFrame
        With the columns `sorted_at`, `snr`, `isi_violations_percent`, `amplitude_uv` and `noise_uv`; rows without
        `sorted_at` are left out.
    """
    ordered = _in_order(table, "sorted_at")
    if ordered.empty:
        return message_figure(_NOTHING, title="Quality over time")
    figure = new_figure(5.6 + _names_in(ordered))
    panels = figure.subplots(len(_QUALITY), 1, sharex=True)
    for axes, (column, label, colour) in zip(panels, _QUALITY, strict=True):
        values = _numbers(ordered, column)
        _draw_values(axes, values, colour)
        style_axes(axes, y_label=label)
    counted = f"{len(ordered):,} recording{'' if len(ordered) == 1 else 's'}"
    running = f"; the line is the median of {_RUNNING}" if len(ordered) >= 2 * _RUNNING else ""
    style_axes(panels[0], title=f"{counted}{running}", y_label=_QUALITY[0][1])
    panels[-1].set_xlabel(_label_recordings(panels[-1], ordered), fontsize=LABEL_SIZE)
    figure.align_ylabels()
    return figure


def draw_failures_by_class(standing: Mapping[str, int], overcome: Mapping[str, int]) -> Figure:
    """Draw how many recordings failed, by class of the failure.

    Parameters
    ----------
    standing : Mapping[str, int]
        By class, recordings with a failure that no success followed.
    overcome : Mapping[str, int]
        By class, recordings with failures that a success followed.
    """
    totals = {name: standing.get(name, 0) + overcome.get(name, 0) for name in {*standing, *overcome}}
    names = sorted((name for name, total in totals.items() if total), key=lambda name: (-totals[name], name))
    if not names:
        return message_figure("No failure is on record", title="Failures by class")
    shown = names[:_CLASSES_NAMED]
    parts = [
        ("not made good yet", np.array([standing.get(name, 0) for name in shown]), VERMILLION),
        ("overcome by a later attempt", np.array([overcome.get(name, 0) for name in shown]), GREY),
    ]
    parts = [part for part in parts if part[1].any()]
    figure = new_figure(1.3 + 0.27 * len(shown) + LEGEND_ROW_IN * len(parts))
    axes = figure.add_subplot()
    left = np.zeros(len(shown))
    for _, counts, colour in parts:
        axes.barh(range(len(shown)), counts, left=left, height=0.7, color=colour)
        left += counts
    for row, name in enumerate(shown):
        axes.text(left[row], row, f" {totals[name]:,}", va="center", fontsize=TICK_SIZE, color=BLACK)
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, 1.1 * left.max())
    rest = f", {len(names) - len(shown)} rarer classes not shown" if len(names) > len(shown) else ""
    style_axes(axes, title=f"Failures by class{rest}", x_label="Recordings")
    add_legend_below(figure, {label: (Patch(color=colour),) for label, _, colour in parts})
    return figure


def _in_order(table: pd.DataFrame, known: str) -> pd.DataFrame:
    """The rows in which a column is known, in the order in which they were sorted; those of unknown time first."""
    return table[table[known].notna()].sort_values("sorted_at", kind="stable", na_position="first")


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    return table[column].to_numpy(dtype=float, na_value=np.nan)


def _stack(axes: Axes, parts: list[tuple[str, np.ndarray, str]], together: int, recordings: int) -> None:
    """Draw bars on top of each other, with gaps where there is room for them."""
    edges = np.append(np.arange(0, recordings, together), recordings) - 0.5
    if recordings <= _NAMED:
        edges = np.add.outer(np.arange(recordings), (-0.4, 0.4)).ravel()
        parts = [(label, np.insert(values, range(1, recordings), 0.0), colour) for label, values, colour in parts]
    below = np.zeros(len(edges) - 1)
    for label, values, colour in parts:
        axes.stairs(below + values, edges, baseline=below, fill=True, color=colour, label=label)
        below = below + values


def _means(values: np.ndarray, together: int) -> np.ndarray:
    starts = np.arange(0, len(values), together)
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def _draw_values(axes: Axes, values: np.ndarray, colour: str) -> None:
    known = np.flatnonzero(np.isfinite(values))
    if known.size == 0:
        axes.text(0.5, 0.5, "No values", ha="center", va="center", transform=axes.transAxes, color=GREY)
        axes.set_yticks([])
        return
    many = known.size >= 2 * _RUNNING
    axes.plot(known, values[known], ".", color=colour, markersize=3 if many else 6, alpha=0.5 if many else 1.0)
    if many:
        windows = np.lib.stride_tricks.sliding_window_view(values[known], _RUNNING)
        middle = _RUNNING // 2
        axes.plot(known[middle : middle + len(windows)], np.median(windows, axis=1), color=BLACK, linewidth=1.2)
    # One odd recording must not press all others onto the axis.
    usual, highest = float(np.quantile(values[known], 0.99)), float(values[known].max())
    top = 1.1 * highest if highest <= 2 * usual or not many else 1.3 * usual
    if top > 0:
        axes.set_ylim(0, top)
    above = known[values[known] > top]
    if above.size:
        axes.plot(above, np.full(above.size, top), "^", color=colour, markersize=4, clip_on=False)
    add_horizontal_grid(axes)


def _label_recordings(axes: Axes, ordered: pd.DataFrame) -> str:
    """Name the recordings on the axis where there is room, else when some of them were sorted; returns its label."""
    count = len(ordered)
    axes.set_xlim(-0.5 - 0.01 * count, count - 0.5 + 0.01 * count)
    if count <= _NAMED:
        names = _short_names(ordered)
        turned = _are_turned(names)
        axes.set_xticks(range(count), names, rotation=30 if turned else 0, ha="right" if turned else "center")
        return "Recording, in the order of sorting"
    places = np.unique(np.linspace(0, count - 1, _DATES).round().astype(int))
    times = ordered["sorted_at"].iloc[places]
    axes.set_xticks(places, ["?" if one != one else f"{one:%Y-%m-%d}" for one in times])
    return "Recordings in the order of sorting, and when some were sorted (UTC)"


def _short_names(ordered: pd.DataFrame) -> list[str]:
    """What tells keys apart: without the folders and the file name that all have; cut where it is still long."""
    parts = [str(key).split("~") for key in ordered.index]
    for place in (0, -1):
        while len(parts) > 1 and len({one[place] for one in parts}) == 1 and min(map(len, parts)) > 1:
            for one in parts:
                one.pop(place)
    names = ["~".join(one) for one in parts]
    return [name if len(name) <= _CHARACTERS else f"{name[: _CHARACTERS - 1]}…" for name in names]


def _are_turned(names: list[str]) -> bool:
    """Whether the names do not fit side by side."""
    return len(names) * (max(map(len, names)) + 2) > _CHARACTERS_IN_WIDTH


def _names_in(ordered: pd.DataFrame) -> float:
    """The height in inches that the names of the recordings take."""
    names = _short_names(ordered) if len(ordered) <= _NAMED else [""]
    return 0.2 + (0.04 * max(map(len, names)) if _are_turned(names) else 0.0)
