"""The amplitude of every spike over time, for the units with the most spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from sort_assets.figures.style import NOTE_SIZE, add_horizontal_grid, message_figure
from sort_assets.figures.unit_panels import (
    label_panels,
    most_active_units,
    new_panels,
    no_units,
    style_panel,
    title_of_choice,
    unit_title,
)
from sort_assets.figures.unit_verdicts import MARKS, UNDECIDED

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

_SUBJECT = "Spike amplitudes"
_COLUMNS = 2
_TIME_BINS, _AMPLITUDE_BINS = 200, 48
# More dots than this would lie on each other in a panel of about 230 pixels.
_MOST_DOTS = 2000
# Of the amplitudes; a handful of artefacts would press all others onto the axis.
_SHOWN_PERCENTILES = (0.1, 99.9)


def draw_amplitudes(
    sorting: BaseSorting,
    amplitudes: np.ndarray | None,
    *,
    duration_s: float,
    max_units: int = 12,
    unit_ids: Sequence[object] | None = None,
    verdicts: Mapping[str, str] | None = None,
    kind: str = "",
    unit: str = "µV",
) -> Figure:
    """Draw the amplitude of every spike over time, a panel for each unit, and how amplitudes are distributed.

    A distribution that is cut off towards zero says that spikes were missed; steps and slopes say that the electrode or
    the neuron moved.

    Parameters
    ----------
    sorting : BaseSorting
        Single-segment sorting; it may hold no units.
    amplitudes : np.ndarray or None
        Amplitude of each spike on the main channel of its unit, shape (spikes,), in the order of
        `sorting.to_spike_vector()`: the extension spike_amplitudes. None: they were not computed, and the figure says
        so.
    duration_s : float
        Length of the recording in seconds, above 0.
    max_units : int
        How many units are drawn at most: those with the most spikes. The figure states how many there are.
    unit_ids : sequence or None
        Draw only of these units, which are compared as text; None draws of all.
    verdicts : Mapping[str, str] or None
        From unit id, as text, to "kept", "rejected" or "duplicate", which decides the colour.
    kind : str
        What these units are, for the title: "kept".
    unit : str
        Unit of the amplitudes.

    Raises
    ------
    ValueError
        When there is not one amplitude for each spike.
    """
    available = len(most_active_units(sorting, sorting.get_num_units(), unit_ids))
    if available == 0 or amplitudes is None:
        return message_figure("Spike amplitudes were not computed" if available else no_units(kind), title=_SUBJECT)
    spikes = sorting.to_spike_vector()
    if np.shape(amplitudes) != spikes.shape:
        raise ValueError(f"{len(spikes)} spikes need as many amplitudes, not {np.shape(amplitudes)}.")
    chosen = most_active_units(sorting, max_units, unit_ids)

    figure, panels = new_panels(
        len(chosen),
        columns=_COLUMNS,
        margin_in=1.2,
        row_in=1.8 if len(chosen) <= _COLUMNS else 1.25,
        axes_per_panel=2,
        width_ratios=[5, 1],
    )
    for (axes, side_axes), index in zip(panels, chosen, strict=True):
        of_unit = spikes["unit_index"] == index
        unit_id = str(sorting.unit_ids[index])
        _draw_unit(
            axes,
            side_axes,
            times_s=spikes["sample_index"][of_unit] / sorting.sampling_frequency,
            amplitudes=np.asarray(amplitudes)[of_unit],
            duration_s=duration_s,
            unit_id=unit_id,
            verdict=(verdicts or {}).get(unit_id, UNDECIDED),
        )
    for axes, _ in panels[:-_COLUMNS]:
        axes.tick_params(labelbottom=False)
    label_panels(
        figure,
        title=title_of_choice(_SUBJECT, len(chosen), available, kind),
        y_label=f"Amplitude, peak upward ({unit})",
        note="Time (s); the narrow panels count spikes per amplitude.\n"
        f"Units with more than {_MOST_DOTS:,} spikes are drawn as density, darker where there are more.",
    )
    return figure


def _draw_unit(
    axes: Axes,
    side_axes: Axes,
    *,
    times_s: np.ndarray,
    amplitudes: np.ndarray,
    duration_s: float,
    unit_id: str,
    verdict: str,
) -> None:
    colour = MARKS[verdict].colour
    upward = -amplitudes if amplitudes.size and np.median(amplitudes) < 0 else amplitudes
    low, high = _limits(upward)
    if len(upward) <= _MOST_DOTS:
        axes.plot(times_s, upward, linestyle="none", marker=".", markersize=2, color=colour, antialiased=False)
    else:
        _draw_density(axes, times_s, upward, (0, duration_s), (low, high), colour)
    counts, edges = np.histogram(upward, bins=_AMPLITUDE_BINS, range=(low, high))
    side_axes.stairs(counts, edges, orientation="horizontal", fill=True, color=colour)
    axes.set_title(
        f"{unit_title(unit_id, verdict)}, {len(upward):,} spike{'' if len(upward) == 1 else 's'}",
        fontsize=NOTE_SIZE,
        loc="left",
        pad=3,
    )
    axes.set_xlim(0, duration_s)
    for one in (axes, side_axes):
        one.set_ylim(low, high)
        style_panel(one)
    add_horizontal_grid(axes)
    side_axes.set_xlim(left=0)
    side_axes.set_xticks([])
    side_axes.tick_params(labelleft=False, left=False)


def _draw_density(
    axes: Axes,
    times_s: np.ndarray,
    upward: np.ndarray,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    colour: str,
) -> None:
    """An image of the number of spikes per pixel, from white to the colour."""
    counts, _, _ = np.histogram2d(times_s, upward, bins=(_TIME_BINS, _AMPLITUDE_BINS), range=(x_limits, y_limits))
    filled = counts[counts > 0]
    axes.imshow(
        # One spike in a pixel has to be seen too.
        np.ma.masked_equal(counts.T, 0),
        extent=(*x_limits, *y_limits),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        # Above the lines of the grid.
        zorder=1,
        cmap=LinearSegmentedColormap.from_list("density", [_lighter(colour), to_rgb(colour), (0.0, 0.0, 0.0)]),
        vmin=1,
        vmax=max(float(np.percentile(filled, 98)) * 1.6, 2.0) if filled.size else 2.0,
    )


def _lighter(colour: str) -> tuple[float, float, float]:

    red, green, blue = (0.35 * part + 0.65 for part in to_rgb(colour))
    return red, green, blue


def _limits(amplitudes: np.ndarray) -> tuple[float, float]:
    """From zero, or below it where there are such amplitudes, to above nearly all of them."""
    finite = amplitudes[np.isfinite(amplitudes)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, _SHOWN_PERCENTILES)
    high = max(float(high), 0.0)
    low = min(float(low), 0.0)
    margin = 0.06 * (high - low) or 1.0
    return (low - margin if low < 0 else 0.0), high + margin
