"""Where the units are on the probe, kept and rejected ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sort_assets.figures.probe_layout import ProbeLayout, lay_out_probe
from sort_assets.figures.style import (
    BLACK,
    add_legend_below,
    message_figure,
    round_down,
    style_axes,
)
from sort_assets.figures.unit_verdicts import MARKS, UNDECIDED

_TITLE = "Positions of the units"
# Estimates farther away say only that the unit is not near a contact, and would press the probe together.
_FARTHEST_UM = 100.0
_NARROWEST_PX = 220.0
# Contacts lie beneath the units, but have to be seen between them.
_CONTACT_GREY = "#B0B0B0"
_SMALLEST_PT, _COMMON_PT, _LARGEST_PT = 4.0, 7.0, 13.0


def draw_unit_positions(
    contacts_um: np.ndarray,
    units_um: np.ndarray,
    *,
    verdicts: Sequence[str] | None = None,
    sizes: np.ndarray | None = None,
    size_label: str = "Firing rate (Hz)",
) -> Figure:
    """Draw the contacts of a probe and the units on it.

    A probe that is much taller than wide lies on its side, as in `draw_probe`.

    Parameters
    ----------
    contacts_um : np.ndarray
        Positions of the contacts in micrometres, shape (contacts, 2), x and y.
    units_um : np.ndarray
        Positions of the units in micrometres, shape (units, 2); NaN where a position is not known. Units more than
        100 µm away from all contacts, in x or in y, are drawn at that distance, and counted.
    verdicts : sequence of str or None
        "kept", "rejected", "duplicate" or "undecided" for each unit, length (units,). None: undecided.
    sizes : np.ndarray or None
        What the size of a mark says, shape (units,), not negative. None draws all alike.
    size_label : str
        What that is, with its unit in brackets.

    Raises
    ------
    ValueError
        When the lengths differ.
    """
    contacts_um, units_um = (np.asarray(one, dtype=float).reshape(-1, 2) for one in (contacts_um, units_um))
    verdicts = [UNDECIDED] * len(units_um) if verdicts is None else list(verdicts)
    if len(verdicts) != len(units_um) or (sizes is not None and np.shape(sizes) != (len(units_um),)):
        raise ValueError(f"{len(units_um)} units need as many verdicts and sizes.")
    known = np.isfinite(units_um).all(axis=1)
    if not known.any():
        message = "No positions of the units were computed" if len(units_um) else "No units found"
        return message_figure(message, title=_TITLE)

    low_um, high_um = contacts_um.min(axis=0) - _FARTHEST_UM, contacts_um.max(axis=0) + _FARTHEST_UM
    drawn_um = np.clip(units_um, low_um, high_um)
    moved = int((drawn_um[known] != units_um[known]).any(axis=1).sum())
    layout = lay_out_probe(contacts_um, also_fit_um=drawn_um[known], narrowest_px=_NARROWEST_PX)
    figure, axes = layout.new_figure(legend_rows=len(set(verdicts)) + 1 + (sizes is not None) + (moved > 0))
    axes.scatter(
        layout.turned_um[:, 0],
        layout.turned_um[:, 1],
        s=layout.marker_diameter_pt**2,
        marker="s",
        color=_CONTACT_GREY,
        linewidths=0,
        label=f"contacts ({len(contacts_um):,})",
        zorder=1,
    )
    scale = None if sizes is None else _SizeScale(sizes)
    diameters_pt = np.full(len(units_um), _COMMON_PT) if scale is None else scale.diameters_pt(scale.values)
    _mark_units(axes, layout, drawn_um, known, verdicts, diameters_pt)
    style_axes(axes, title=_title(len(units_um), known), x_label=layout.x_label, y_label=layout.y_label)
    further = {} if scale is None else scale.legend_line(size_label)
    if moved:
        nothing = Line2D([], [], linestyle="none")
        further[f"{moved:,} farther than {_FARTHEST_UM:g} µm from the contacts, drawn at that distance"] = (nothing,)
    add_legend_below(figure, further)
    return figure


def _title(units: int, known: np.ndarray) -> str:
    if known.all():
        return f"{_TITLE.replace('the units', f'{units:,} unit' + ('' if units == 1 else 's'))}"
    return f"{_TITLE.replace('the units', f'{known.sum():,} of {units:,} units')}, the others' are not known"


def _mark_units(
    axes: Axes,
    layout: ProbeLayout,
    units_um: np.ndarray,
    known: np.ndarray,
    verdicts: Sequence[str],
    diameters_pt: np.ndarray,
) -> None:
    verdict_of = np.asarray(verdicts)
    for height, (verdict, mark) in enumerate(MARKS.items()):
        chosen = (verdict_of == verdict) & known
        if not chosen.any():
            continue
        places_um = layout.turned(units_um[chosen])
        axes.scatter(
            places_um[:, 0],
            places_um[:, 1],
            s=diameters_pt[chosen] ** 2,
            marker=mark.marker,
            facecolor=mark.colour,
            edgecolor=BLACK,
            linewidths=0.4,
            alpha=0.75,
            label=f"{verdict} ({chosen.sum():,})",
            # The kept ones on top.
            zorder=len(MARKS) + 2 - height,
        )


class _SizeScale:
    """How large each unit is drawn, and the line of the legend that says so.

    Diameters grow with the root of the value, so that areas grow about with the value; those above the 95th percentile
    are drawn alike, because few units of a recording fire much more than all others.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = np.asarray(values, dtype=float)
        positive = self.values[self.values > 0]
        self._largest = float(np.percentile(positive, 95)) if positive.size else 1.0

    def diameters_pt(self, values: np.ndarray) -> np.ndarray:
        share = np.sqrt(np.clip(np.nan_to_num(values) / self._largest, 0, 1))
        return np.asarray(_SMALLEST_PT + (_LARGEST_PT - _SMALLEST_PT) * share)

    def legend_line(self, label: str) -> dict[str, tuple[Artist, ...]]:
        largest = round_down(self._largest)
        shown = np.array([largest / 20, largest / 4, largest])
        marks = tuple(
            Line2D([], [], linestyle="none", marker="o", color="white", markeredgecolor=BLACK, markersize=float(size))
            for size in self.diameters_pt(shown)
        )
        name, _, unit = label.partition(" (")
        return {f"{name}: {', '.join(f'{value:g}' for value in shown)} {unit.rstrip(')')}": marks}
