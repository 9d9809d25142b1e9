"""How positions on a probe are brought onto a page of fixed width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.style import DOTS_PER_INCH, FIGURE_WIDTH_IN, LEGEND_ROW_IN, new_figure

# Around the plot: its label and numbers to the left and below, its title above.
_LEFT_PX, _RIGHT_PX, _BOTTOM_PX, _TOP_PX = 84.0, 16.0, 58.0, 34.0
_PLOT_WIDTH_PX = FIGURE_WIDTH_IN * DOTS_PER_INCH - _LEFT_PX - _RIGHT_PX
# A narrow probe is stretched until its contacts part.
_NARROWEST_PX = 80.0
_MARGIN_PX = 30.0
_TALLEST_PX = 560.0
_LAID_DOWN_ASPECT = 1.5
# Also what one contact, which has no extent, is drawn with.
_LARGEST_PX_PER_UM = 8.0
_LARGEST_MARKER_PT = 9.0


@dataclass(frozen=True)
class ProbeLayout:
    """How positions are brought onto the page.

    Attributes
    ----------
    turned_um : np.ndarray
        Positions as drawn, shape (contacts, 2), in micrometres.
    laid_down : bool
        Whether x and y are exchanged.
    stretch : float
        How many times more pixels a micrometre has vertically than horizontally.
    x_limits_um, y_limits_um : tuple of float
        Limits of the axes.
    height_px, marker_diameter_pt : float
        Height of the axes in pixels, and size of a contact in points.
    """

    turned_um: np.ndarray
    laid_down: bool
    stretch: float
    x_limits_um: tuple[float, float]
    y_limits_um: tuple[float, float]
    height_px: float
    marker_diameter_pt: float

    def turned(self, positions_um: np.ndarray) -> np.ndarray:
        """Any positions, shape (points, 2), as they are drawn."""
        return positions_um[:, ::-1] if self.laid_down else positions_um

    @property
    def x_label(self) -> str:
        return "Along the probe, y (µm)" if self.laid_down else "x (µm)"

    @property
    def y_label(self) -> str:
        label = "Across, x (µm)" if self.laid_down else "y (µm)"
        return label if self.stretch == 1 else f"{label}\nstretched {self.stretch:g} times"

    def new_figure(self, *, legend_rows: int) -> tuple[Figure, Axes]:
        """A figure with axes of the right shape, and room for a legend of so many rows below them."""
        legend_px = LEGEND_ROW_IN * DOTS_PER_INCH * legend_rows
        height_px = legend_px + _BOTTOM_PX + self.height_px + _TOP_PX
        width_px = FIGURE_WIDTH_IN * DOTS_PER_INCH
        figure = new_figure(height_px / DOTS_PER_INCH)
        # Placed by hand: an automatic layout does not know the shape of the probe and leaves gaps around it.
        figure.set_layout_engine("none")
        axes = figure.add_axes(
            (
                _LEFT_PX / width_px,
                (legend_px + _BOTTOM_PX) / height_px,
                _PLOT_WIDTH_PX / width_px,
                self.height_px / height_px,
            )
        )
        axes.set_xlim(*self.x_limits_um)
        axes.set_ylim(*self.y_limits_um)
        axes.set_aspect(self.stretch)
        return figure, axes


def lay_out_probe(
    positions_um: np.ndarray, *, also_fit_um: np.ndarray | None = None, narrowest_px: float = _NARROWEST_PX
) -> ProbeLayout:
    """Choose how contacts are drawn.

    Parameters
    ----------
    positions_um : np.ndarray
        Contacts, shape (contacts, 2), in micrometres.
    also_fit_um : np.ndarray or None
        Further points that must be within the axes, shape (points, 2), in micrometres.
    narrowest_px : float
        A probe that would be drawn narrower is stretched to about this.
    """
    within_um = positions_um if also_fit_um is None else np.concatenate([positions_um, also_fit_um])
    extent_x, extent_y = np.ptp(positions_um, axis=0)
    laid_down = bool(extent_y > _LAID_DOWN_ASPECT * extent_x)
    turned_um, within_um = (points[:, ::-1] if laid_down else points for points in (positions_um, within_um))
    width_um, height_um = np.ptp(within_um, axis=0)
    px_per_um = min(
        (_PLOT_WIDTH_PX - 2 * _MARGIN_PX) / max(width_um, 1e-9),
        (_TALLEST_PX - 2 * _MARGIN_PX) / max(height_um, 1e-9),
        _LARGEST_PX_PER_UM,
    )
    stretch = 1.0
    if 0 < height_um * px_per_um < narrowest_px:
        stretch = float(max(1, round(narrowest_px / (height_um * px_per_um))))
    height_px = max(height_um * px_per_um * stretch, narrowest_px / 2) + 2 * _MARGIN_PX
    centre_x, centre_y = (within_um.min(axis=0) + within_um.max(axis=0)) / 2
    half_width_um = _PLOT_WIDTH_PX / 2 / px_per_um
    half_height_um = height_px / 2 / (px_per_um * stretch)
    return ProbeLayout(
        turned_um=turned_um,
        laid_down=laid_down,
        stretch=stretch,
        x_limits_um=(centre_x - half_width_um, centre_x + half_width_um),
        y_limits_um=(centre_y - half_height_um, centre_y + half_height_um),
        height_px=height_px,
        marker_diameter_pt=_marker_diameter_pt(turned_um * [px_per_um, px_per_um * stretch]),
    )


def _marker_diameter_pt(positions_px: np.ndarray) -> float:
    """A size at which neighbours do not touch, where that is still visible."""
    from scipy.spatial import cKDTree

    if len(positions_px) < 2:
        return _LARGEST_MARKER_PT
    distances, _ = cKDTree(positions_px).query(positions_px, k=2)
    points_per_px = 72 / DOTS_PER_INCH
    return float(np.clip(0.75 * np.median(distances[:, 1]) * points_per_px, 2.0, _LARGEST_MARKER_PT))
