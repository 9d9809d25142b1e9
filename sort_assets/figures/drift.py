"""The depth of every spike over time, and how far the units moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sort_assets.figures.style import (
    BLACK,
    BLUE,
    GREY,
    LABEL_SIZE,
    NOTE_SIZE,
    TICK_SIZE,
    VERMILLION,
    message_figure,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

_TITLE = "Drift"
_TIME_PIXELS, _DEPTH_PIXELS = 500, 300
_DRIFT_BINS = 24
# A median of fewer depths says little.
_FEWEST_SPIKES_IN_BIN = 5
_MOST_UNITS = 60
# Locations farther off are failed estimates.
_FARTHEST_UM = 100.0
_SAME_ROW_UM = 1.0
_STEPS_OF_BRIGHTNESS = 10


def draw_drift(
    sorting: BaseSorting,
    depths_um: np.ndarray | None,
    *,
    contacts_um: np.ndarray,
    duration_s: float,
    amplitudes: np.ndarray | None = None,
    unit: str = "µV",
) -> Figure:
    """Draw the depth of every spike over time, and how far the median depth of the units moved.

    Parameters
    ----------
    sorting : BaseSorting
        Single-segment sorting; it may hold no units.
    depths_um : np.ndarray or None
        The y of each spike in micrometres, shape (spikes,), in the order of `sorting.to_spike_vector()`: of the
        extension spike_locations. None: they were not computed, and the figure says so.
    contacts_um : np.ndarray
        Positions of the contacts in micrometres, shape (contacts, 2).
    duration_s : float
        Length of the recording in seconds, above 0.
    amplitudes : np.ndarray or None
        Amplitude of each spike, shape (spikes,); the larger, the darker. None: the more spikes, the darker.
    unit : str
        Unit of the amplitudes.

    Raises
    ------
    ValueError
        When there is not one depth, or amplitude, for each spike.
    """
    spikes = sorting.to_spike_vector()
    for values in (depths_um, amplitudes):
        if values is not None and np.shape(values) != spikes.shape:
            raise ValueError(f"{len(spikes)} spikes need as many depths and amplitudes, not {np.shape(values)}.")
    if depths_um is None or not np.isfinite(depths_um).any():
        without_spikes = "No spikes found" if sorting.get_num_units() else "No units found"
        return message_figure("Spike locations were not computed" if len(spikes) else without_spikes, title=_TITLE)
    times_s = spikes["sample_index"] / sorting.sampling_frequency
    pitch_um = row_pitch_um(contacts_um)

    figure = new_figure(height_in=6.2)
    map_axes, drift_axes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    limits_um = contacts_um[:, 1].min() - _FARTHEST_UM, contacts_um[:, 1].max() + _FARTHEST_UM
    outside = _draw_map(map_axes, times_s, depths_um, amplitudes, duration_s, limits_um, unit)
    style_axes(map_axes, title=f"Depth of {len(spikes):,} spikes", y_label="Depth, y (µm)")
    if outside:
        note = f"{outside:,} spikes beyond {_FARTHEST_UM:g} µm from the contacts not shown"
        map_axes.set_title(note, fontsize=NOTE_SIZE, loc="right", color=GREY)
    _draw_units(drift_axes, sorting, times_s, depths_um, duration_s, pitch_um)
    drift_axes.set_xlim(0, duration_s)
    return figure


def row_pitch_um(contacts_um: np.ndarray) -> float | None:
    """Micrometres from one row of contacts to the next along y; None where all contacts lie in one row."""
    heights_um = np.diff(np.unique(contacts_um[:, 1]))
    rows_um = heights_um[heights_um >= _SAME_ROW_UM]
    return float(np.median(rows_um)) if rows_um.size else None


def median_depths_um(
    unit_index: np.ndarray, times_s: np.ndarray, depths_um: np.ndarray, *, units: int, duration_s: float, bins: int
) -> np.ndarray:
    """Median depth of the spikes of each unit in equal parts of the recording.

    Parameters
    ----------
    unit_index, times_s, depths_um : np.ndarray
        Of each spike, shape (spikes,).
    units : int
        Number of units.
    duration_s : float
        Length of the recording in seconds.
    bins : int
        Number of parts.

    Returns
    -------
    np.ndarray
        Micrometres, shape (units, bins); NaN where a unit has fewer than 5 spikes.
    """
    part = np.clip((times_s / duration_s * bins).astype(int), 0, bins - 1)
    grouped = pd.Series(depths_um).groupby(unit_index * bins + part)
    medians, counts = grouped.median(), grouped.count()
    enough = medians[counts >= _FEWEST_SPIKES_IN_BIN]
    by_cell = np.full(units * bins, np.nan)
    by_cell[enough.index] = enough.to_numpy()
    return by_cell.reshape(units, bins)


def _draw_map(
    axes: Axes,
    times_s: np.ndarray,
    depths_um: np.ndarray,
    amplitudes: np.ndarray | None,
    duration_s: float,
    limits_um: tuple[float, float],
    unit: str,
) -> int:
    """An image in which each pixel has the largest amplitude of its spikes; returns how many spikes lie outside."""
    low_um, high_um = limits_um
    inside = (depths_um >= low_um) & (depths_um <= high_um)
    columns = np.clip((times_s[inside] / duration_s * _TIME_PIXELS).astype(int), 0, _TIME_PIXELS - 1)
    rows = ((depths_um[inside] - low_um) / (high_um - low_um) * (_DEPTH_PIXELS - 1)).astype(int)
    cells = rows * _TIME_PIXELS + columns
    pixels = np.zeros(_DEPTH_PIXELS * _TIME_PIXELS)
    if amplitudes is None:
        pixels += np.bincount(cells, minlength=len(pixels))
        label = "Spikes per pixel"
    else:
        np.maximum.at(pixels, cells, np.abs(amplitudes[inside]))
        label = f"Amplitude ({unit})"
    filled = pixels[pixels > 0]
    darkest = float(np.percentile(filled, 95)) if filled.size else 1.0
    lightest = float(np.percentile(filled, 5)) if filled.size else 0.0
    levels = MaxNLocator(_STEPS_OF_BRIGHTNESS).tick_values(lightest if darkest > lightest else 0.0, darkest)
    image = axes.imshow(
        np.ma.masked_equal(pixels.reshape(_DEPTH_PIXELS, _TIME_PIXELS), 0),
        extent=(0, duration_s, low_um, high_um),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=_from_light_to_dark(),
        # Few steps compress well.
        norm=BoundaryNorm(levels, ncolors=256, extend="both"),
    )
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, fraction=0.05, format="%.3g")
    bar.set_label(label, fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=NOTE_SIZE)
    return int((~inside).sum())


def _from_light_to_dark() -> Colormap:
    """A colour map that suits any colour vision, without its lightest tones, which would vanish on white."""
    return ListedColormap(matplotlib.colormaps["cividis_r"](np.linspace(0.1, 1, 256)))


def _draw_units(
    axes: Axes,
    sorting: BaseSorting,
    times_s: np.ndarray,
    depths_um: np.ndarray,
    duration_s: float,
    pitch_um: float | None,
) -> None:
    """How far each unit is from its own median depth, and the median of all of them."""
    units = sorting.get_num_units()
    unit_index = np.asarray(sorting.to_spike_vector()["unit_index"])
    moved_um = median_depths_um(unit_index, times_s, depths_um, units=units, duration_s=duration_s, bins=_DRIFT_BINS)
    followed = np.isfinite(moved_um).sum(axis=1) >= 2
    moved_um = moved_um[followed]
    style_axes(axes, x_label="Time (s)", y_label="Moved from own\nmedian depth (µm)")
    if not followed.any():
        axes.text(0.5, 0.5, "Too few spikes to follow a unit", transform=axes.transAxes, ha="center", color=GREY)
        return
    moved_um = moved_um - np.nanmedian(moved_um, axis=1, keepdims=True)
    centres_s = (np.arange(_DRIFT_BINS) + 0.5) * duration_s / _DRIFT_BINS
    spikes = np.bincount(unit_index, minlength=units)[followed]
    shown = np.sort(np.argsort(-spikes, kind="stable")[:_MOST_UNITS])
    axes.plot(centres_s, moved_um[shown].T, color=GREY, linewidth=0.6, alpha=0.6)
    axes.plot([], [], color=GREY, linewidth=0.9, label=_units_label(len(shown), len(moved_um)))
    axes.plot(centres_s, _median_over_units(moved_um), color=BLUE, linewidth=2, label=f"median of {len(moved_um):,}")
    reach_um = float(np.nanpercentile(np.abs(moved_um), 99))
    if pitch_um is not None:
        for sign in (-1, 1):
            axes.axhline(
                sign * pitch_um,
                color=VERMILLION,
                linewidth=1,
                linestyle="--",
                label=f"contact pitch, {pitch_um:g} µm" if sign > 0 else None,
            )
        reach_um = max(reach_um, pitch_um)
    axes.axhline(0, color=BLACK, linewidth=0.5, zorder=0)
    axes.set_ylim(-1.15 * reach_um - 1e-3, 1.15 * reach_um + 1e-3)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=TICK_SIZE, frameon=False, borderpad=0.1)


def _units_label(shown: int, followed: int) -> str:
    return f"{shown} of {followed:,} units" if shown < followed else f"{shown} unit{'' if shown == 1 else 's'}"


def _median_over_units(values: np.ndarray) -> np.ndarray:
    """Median over units, NaN in parts of the recording in which no unit was followed, shape (bins,)."""
    medians = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians
