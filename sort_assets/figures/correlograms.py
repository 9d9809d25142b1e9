"""Intervals between spikes and autocorrelograms, for the units with the most spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.style import BLACK, LIGHT_GREY, NOTE_SIZE, message_figure
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

REFRACTORY_MS = 1.5
"""SpikeInterface's default for isi_violations."""
_SUBJECT = "Spike intervals"
_COLUMNS = 2
_WINDOW_MS = 50.0
# A divisor of the refractory period, which then ends where a bin ends.
_BIN_MS = 0.5


def draw_correlograms(
    sorting: BaseSorting,
    *,
    max_units: int = 12,
    unit_ids: Sequence[object] | None = None,
    violations_percent: Mapping[str, float] | None = None,
    verdicts: Mapping[str, str] | None = None,
    kind: str = "",
) -> Figure:
    """Draw, for each unit, the histogram of intervals between successive spikes and the autocorrelogram.

    They are computed here for the units that are drawn, in bins of 0.5 ms. In the bins of SpikeInterface's extensions,
    1 ms by default, a refractory period of 1.5 ms can't be seen.

    Parameters
    ----------
    sorting : BaseSorting
        Single-segment sorting; it may hold no units.
    max_units : int
        How many units are drawn at most: those with the most spikes. The figure states how many there are.
    unit_ids : sequence or None
        Draw only of these units, which are compared as text; None draws of all.
    violations_percent : Mapping[str, float] or None
        From unit id, as text, to the intervals below 1.5 ms in percent of all. Where it is missing, it is counted.
    verdicts : Mapping[str, str] or None
        From unit id, as text, to "kept", "rejected" or "duplicate", which decides the colour.
    kind : str
        What these units are, for the title: "kept".
    """
    available = len(most_active_units(sorting, sorting.get_num_units(), unit_ids))
    if available == 0:
        return message_figure(no_units(kind), title=_SUBJECT)
    from spikeinterface.postprocessing import compute_auto_correlograms

    shown = sorting.select_units(sorting.unit_ids[most_active_units(sorting, max_units, unit_ids)])
    # "numba" would compile for twenty seconds to save a fraction of one.
    correlograms, lags_ms = compute_auto_correlograms(shown, window_ms=_WINDOW_MS, bin_ms=_BIN_MS, method="numpy")

    figure, panels = new_panels(
        shown.get_num_units(),
        columns=_COLUMNS,
        margin_in=1.2,
        row_in=1.8 if shown.get_num_units() <= _COLUMNS else 1.25,
        axes_per_panel=2,
    )
    for (interval_axes, lag_axes), unit_id, correlogram in zip(panels, shown.unit_ids, correlograms, strict=True):
        name = str(unit_id)
        intervals_ms = np.diff(shown.get_unit_spike_train(unit_id)) / sorting.sampling_frequency * 1000
        percent = (violations_percent or {}).get(name, _violations_percent(intervals_ms))
        verdict = (verdicts or {}).get(name, UNDECIDED)
        _draw_intervals(interval_axes, intervals_ms, MARKS[verdict].colour)
        _draw_correlogram(lag_axes, correlogram, lags_ms, MARKS[verdict].colour)
        interval_axes.set_title(
            f"{unit_title(name, verdict)}: {_format_violations(percent)}", fontsize=NOTE_SIZE, loc="left", pad=3
        )
    label_panels(
        figure,
        title=title_of_choice(_SUBJECT, shown.get_num_units(), available, kind),
        y_label=f"Count in bins of {_BIN_MS:g} ms",
        note="Left: interval between successive spikes (ms). Right: lag between any two spikes (ms).\n"
        f"Shaded: refractory period of {REFRACTORY_MS:g} ms; violations are intervals within it.",
    )
    return figure


def _violations_percent(intervals_ms: np.ndarray) -> float:
    return float(np.mean(intervals_ms < REFRACTORY_MS) * 100) if intervals_ms.size else float("nan")


def _format_violations(percent: float) -> str:
    return f"{percent:.2g} % violations" if np.isfinite(percent) else "no intervals"


def _draw_intervals(axes: Axes, intervals_ms: np.ndarray, colour: str) -> None:
    counts, edges_ms = np.histogram(intervals_ms, bins=round(_WINDOW_MS / _BIN_MS), range=(0, _WINDOW_MS))
    axes.axvspan(0, REFRACTORY_MS, color=LIGHT_GREY, linewidth=0)
    axes.axvline(REFRACTORY_MS, color=BLACK, linewidth=0.7, linestyle="--")
    axes.stairs(counts, edges_ms, fill=True, color=colour)
    axes.set_xlim(0, _WINDOW_MS)
    _style(axes, counts)


def _draw_correlogram(axes: Axes, counts: np.ndarray, lags_ms: np.ndarray, colour: str) -> None:
    axes.axvspan(-REFRACTORY_MS, REFRACTORY_MS, color=LIGHT_GREY, linewidth=0)
    for edge_ms in (-REFRACTORY_MS, REFRACTORY_MS):
        axes.axvline(edge_ms, color=BLACK, linewidth=0.7, linestyle="--")
    axes.stairs(counts, lags_ms, fill=True, color=colour)
    axes.set_xlim(lags_ms[0], lags_ms[-1])
    _style(axes, counts)


def _style(axes: Axes, counts: np.ndarray) -> None:
    axes.set_ylim(0, 1.08 * max(int(counts.max(initial=0)), 1))
    style_panel(axes)
    axes.locator_params(axis="y", nbins=3, integer=True)
