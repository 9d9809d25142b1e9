"""All spikes of a sorting over time, with the rate of all units together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sort_assets.figures.style import (
    BLUE,
    LABEL_SIZE,
    LEGEND_ROW_IN,
    ORANGE,
    TICK_SIZE,
    add_horizontal_grid,
    add_legend_below,
    message_figure,
    new_figure,
    round_down,
    shorten_id,
    style_axes,
)
from sort_assets.figures.unit_verdicts import MARKS

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

_PLOT_WIDTH_PX = 530
_UNITS_NAMED = 32
_RATE_BINS = 300
_SHORTEST_BIN_S = 0.02


def draw_raster(
    sorting: BaseSorting,
    *,
    duration_s: float,
    unit_depths: np.ndarray | None = None,
    verdicts: Sequence[str] | None = None,
    max_spikes: int = 200_000,
) -> Figure:
    """Draw a raster, one row for each unit, and the rate of all units together underneath.

    Parameters
    ----------
    sorting : BaseSorting
        Single-segment sorting; it may hold no units.
    duration_s : float
        Length of the recording in seconds, above 0.
    unit_depths : np.ndarray or None
        Depth of each unit in micrometres, shape (units,), in the order of `sorting.unit_ids`; rows are then sorted by
        it, the smallest at the bottom. None keeps the order of the units.
    verdicts : sequence of str or None
        "kept", "rejected" or "duplicate" for each unit, length (units,); their rows then have different colours.
    max_spikes : int
        How many spikes are drawn at most; a random choice, which the figure states. The rate counts all spikes.

    Raises
    ------
    ValueError
        When the duration is not above 0, or there is not one depth, or verdict, for each unit.
    """
    units = sorting.get_num_units()
    if not duration_s > 0:
        raise ValueError(f"A raster needs a duration above 0 s, not {duration_s}.")
    if unit_depths is not None and np.shape(unit_depths) != (units,):
        raise ValueError(f"{units} units need as many depths, not an array of shape {np.shape(unit_depths)}.")
    if verdicts is not None and len(verdicts) != units:
        raise ValueError(f"{units} units need as many verdicts, not {len(verdicts)}.")
    if units == 0:
        return message_figure("No units found", title="Spikes")

    order = np.arange(units) if unit_depths is None else np.argsort(unit_depths, kind="stable")
    row_of_unit = np.argsort(order)
    spikes = sorting.to_spike_vector()
    times_s = spikes["sample_index"] / sorting.sampling_frequency

    raster_in = float(np.clip(0.22 * units, 1.3, 4.6))
    named = [] if verdicts is None else [verdict for verdict in MARKS if verdict in verdicts]
    figure = new_figure(height_in=raster_in + 2.6 + (LEGEND_ROW_IN * len(named) + 0.1 if named else 0))
    raster_axes, rate_axes = figure.subplots(2, 1, sharex=True, height_ratios=[raster_in, 1.3])
    shown = _choose(len(spikes), max_spikes)
    rows = row_of_unit[spikes["unit_index"][shown]]
    colours = [BLUE] * units if verdicts is None else [MARKS[verdicts[unit]].colour for unit in order]
    _mark_spikes(raster_axes, times_s[shown], rows, colours, raster_in)
    _label_rows(raster_axes, sorting, order, unit_depths)
    counted = f"{len(spikes):,} spikes"
    if len(shown) < len(spikes):
        counted += f", {len(shown):,} of them shown"
    style_axes(
        raster_axes,
        title=f"{units:,} unit{'' if units == 1 else 's'}, {counted}",
        y_label=raster_axes.get_ylabel(),
    )
    _draw_rate(rate_axes, times_s, duration_s)
    rate_axes.set_xlim(0, duration_s)
    if verdicts is not None:
        _add_verdicts_below(figure, {verdict: list(verdicts).count(verdict) for verdict in named})
    return figure


def _add_verdicts_below(figure: Figure, counts: Mapping[str, int]) -> None:

    add_legend_below(
        figure,
        {
            f"{verdict} ({count:,})": (Line2D([], [], color=MARKS[verdict].colour, linewidth=3),)
            for verdict, count in counts.items()
        },
    )


def _choose(spikes: int, max_spikes: int) -> np.ndarray:
    """Sorted indices of at most `max_spikes` spikes; the same ones every time."""
    if spikes <= max_spikes:
        return np.arange(spikes)
    return np.sort(np.random.default_rng(0).choice(spikes, max_spikes, replace=False))


def _mark_spikes(axes: Axes, times_s: np.ndarray, rows: np.ndarray, colours: list[str], height_in: float) -> None:
    units = len(colours)
    row_height_pt = height_in * 72 / units
    for row in range(units):
        unit_times_s = times_s[rows == row]
        # Where a unit's spikes outnumber the pixels, transparency keeps changes of its rate visible.
        spikes_per_pixel = len(unit_times_s) / _PLOT_WIDTH_PX
        axes.plot(
            unit_times_s,
            np.full(len(unit_times_s), row),
            linestyle="none",
            # Single pixels where rows are a pixel or two high.
            marker="|" if row_height_pt > 2 else ",",
            markersize=0.6 * row_height_pt,
            markeredgewidth=0.7,
            color=colours[row],
            alpha=float(np.clip(1 / max(spikes_per_pixel, 1e-9), 0.2, 1.0)),
            # Sharp edges compress four times better.
            antialiased=False,
        )
    axes.set_ylim(-0.7, units - 0.3)


def _label_rows(axes: Axes, sorting: BaseSorting, order: np.ndarray, unit_depths: np.ndarray | None) -> None:
    units = len(order)
    if units <= _UNITS_NAMED:
        axes.set_yticks(range(units), [shorten_id(unit_id) for unit_id in np.asarray(sorting.unit_ids)[order]])
        axes.set_ylabel("Unit" if unit_depths is None else "Unit, in depth order")
    else:
        axes.set_ylabel("Unit, by its place" if unit_depths is None else "Unit, by its place in depth order")
    if unit_depths is None:
        return
    rows = np.unique(np.linspace(0, units - 1, min(units, 7)).round().astype(int))
    depth_axis = axes.secondary_yaxis("right")
    depth_axis.set_yticks(rows, [f"{unit_depths[order[row]]:.0f}" for row in rows])
    depth_axis.tick_params(labelsize=TICK_SIZE)
    depth_axis.set_ylabel("Depth (µm)", fontsize=LABEL_SIZE)
    depth_axis.spines["right"].set_visible(False)


def _draw_rate(axes: Axes, times_s: np.ndarray, duration_s: float) -> None:
    bin_s = round_down(max(duration_s / _RATE_BINS * 2, _SHORTEST_BIN_S))
    # Whole bins only: the rate in the rest of a bin at the end would be too noisy, or too low.
    edges_s = np.arange(max(int(duration_s / bin_s), 1) + 1) * bin_s
    counts, _ = np.histogram(times_s, bins=edges_s)
    axes.stairs(counts / bin_s, edges_s, fill=True, color=ORANGE)
    add_horizontal_grid(axes)
    axes.set_ylim(bottom=0)
    style_axes(axes, x_label="Time (s)", y_label=f"Rate of all units (Hz)\nin bins of {bin_s:g} s")
