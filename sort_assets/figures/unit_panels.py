"""Figures of small panels, mostly one for each unit: their layout and titles, and which units are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.style import GREY, LABEL_SIZE, NOTE_SIZE, TITLE_SIZE, new_figure, shorten_id
from sort_assets.figures.unit_verdicts import UNDECIDED

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting


def new_panels(
    panels: int,
    *,
    columns: int,
    margin_in: float,
    row_in: float,
    axes_per_panel: int = 1,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Figure, np.ndarray]:
    """A figure with small panels in rows.

    Parameters
    ----------
    panels : int
        How many, at least one.
    columns : int
        How many stand side by side at most.
    margin_in, row_in : float
        Inches that title and labels take, and the height of one row.
    axes_per_panel : int
        How many axes stand side by side in one panel.
    width_ratios : sequence of float or None
        Widths of the axes of one panel, relative to each other; None makes them equal.

    Returns
    -------
    figure : Figure
    axes : np.ndarray
        The axes, shape (panels, axes_per_panel).
    """
    columns = min(panels, columns)
    rows = -(-panels // columns)
    figure = new_figure(height_in=margin_in + rows * row_in)
    grid = figure.subplots(
        rows,
        columns * axes_per_panel,
        squeeze=False,
        width_ratios=None if width_ratios is None else [*width_ratios] * columns,
    )
    axes_of_panels = grid.reshape(rows * columns, axes_per_panel)
    for axes in axes_of_panels[panels:].ravel():
        axes.set_visible(False)
    return figure, axes_of_panels[:panels]


def label_panels(figure: Figure, *, title: str, y_label: str = "", note: str = "") -> None:
    """Give a figure of panels its title, and where given the label of all vertical axes and a note at its foot."""
    figure.suptitle(title, fontsize=TITLE_SIZE, x=0.01, ha="left")
    if y_label:
        figure.supylabel(y_label, fontsize=LABEL_SIZE)
    if note:
        figure.supxlabel(note, fontsize=NOTE_SIZE, color=GREY)


def style_panel(axes: Axes) -> None:
    """Small tick labels, and no frame where there are no numbers."""
    axes.tick_params(labelsize=NOTE_SIZE)
    axes.spines[["top", "right"]].set_visible(False)


def unit_title(unit_id: str, verdict: str) -> str:
    """Title of a panel: "Unit 12, rejected", and without a verdict "Unit 12"."""
    return f"Unit {shorten_id(unit_id)}" + ("" if verdict == UNDECIDED else f", {verdict}")


def most_active_units(sorting: BaseSorting, max_units: int, unit_ids: Sequence[object] | None = None) -> np.ndarray:
    """Indices into `sorting.unit_ids` of the units with the most spikes, in the order of the sorting.

    Parameters
    ----------
    sorting : BaseSorting
    max_units : int
        How many are chosen at most.
    unit_ids : sequence or None
        Choose among these, which are compared as text; None chooses among all.
    """
    candidates = np.arange(sorting.get_num_units())
    if unit_ids is not None:
        wanted = {str(unit_id) for unit_id in unit_ids}
        candidates = np.array([i for i in candidates if str(sorting.unit_ids[i]) in wanted], dtype=int)
    if len(candidates) <= max_units:
        return candidates
    spikes = np.asarray(sorting.count_num_spikes_per_unit(outputs="array"))[candidates]
    return np.sort(candidates[np.argsort(-spikes, kind="stable")[:max_units]])


def title_of_choice(subject: str, shown: int, available: int, kind: str = "") -> str:
    """Title of a figure that shows some of the units: "Amplitudes of the 12 of 500 kept units with the most spikes"."""
    units = f"{kind} unit".strip() + ("" if available == 1 else "s")
    if shown < available:
        return f"{subject} of the {shown} of {available:,} {units} with the most spikes"
    return f"{subject} of {available:,} {units}"


def no_units(kind: str = "") -> str:
    """What a figure says that has nothing to show: "No rejected units", and without a kind "No units found"."""
    return f"No {kind} units" if kind else "No units found"
