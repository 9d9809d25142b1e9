"""The contacts of a probe, kept and removed ones, in micrometres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.figures.channels import group_removed_channels
from sort_assets.figures.style import (
    BLACK,
    BLUE,
    DOTS_PER_INCH,
    FIGURE_WIDTH_IN,
    LEGEND_ROW_IN,
    LIGHT_GREY,
    add_legend_below,
    new_figure,
    save_figure,
    style_axes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from probeinterface import Probe, ProbeGroup
    from spikeinterface.core import BaseRecording

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


def plot_probe(
    probe_or_recording: Probe | ProbeGroup | BaseRecording, path: Path, *, removed_channels: Mapping[str, str]
) -> Path:
    """Draw where the contacts are, and which of them were removed.

    A probe that is much taller than wide lies on its side, so that ten millimetres of contacts still show. When its
    columns would fall together at equal scale, the direction across the probe is stretched and its axis says so.

    Parameters
    ----------
    probe_or_recording : Probe, ProbeGroup or BaseRecording
        The raw recording with its probe, removed channels included; or the probe alone.
    path : Path
        The PNG to write.
    removed_channels : Mapping[str, str]
        From channel id to the reason, "dead" or "noise" for example. For a probe alone, from contact id, or from the
        contact's index where the probe has no ids.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        When the recording has no probe.
    """
    return save_figure(draw_probe(probe_or_recording, removed_channels=removed_channels), path)


def draw_probe(
    probe_or_recording: Probe | ProbeGroup | BaseRecording, *, removed_channels: Mapping[str, str]
) -> Figure:
    """The figure that `plot_probe` saves."""
    contact_ids, positions_um = _contacts(probe_or_recording)
    layout = _lay_out(positions_um)
    legend_px = LEGEND_ROW_IN * DOTS_PER_INCH * (1 + len(set(removed_channels.values())))
    height_px = legend_px + _BOTTOM_PX + layout.height_px + _TOP_PX
    figure = new_figure(height_px / DOTS_PER_INCH)
    # Placed by hand: an automatic layout does not know the shape of the probe and leaves gaps around it.
    figure.set_layout_engine("none")
    axes = figure.add_axes(
        (
            _LEFT_PX / (FIGURE_WIDTH_IN * DOTS_PER_INCH),
            (legend_px + _BOTTOM_PX) / height_px,
            _PLOT_WIDTH_PX / (FIGURE_WIDTH_IN * DOTS_PER_INCH),
            layout.height_px / height_px,
        )
    )
    for outline_um in _outlines(probe_or_recording):
        axes.fill(*layout.turned(outline_um).T, facecolor=LIGHT_GREY, edgecolor="none", zorder=0)
    _mark_contacts(axes, contact_ids, layout, removed_channels)

    title = f"Probe with {len(contact_ids):,} contact{'' if len(contact_ids) == 1 else 's'}"
    style_axes(axes, title=title, x_label=layout.x_label, y_label=layout.y_label)
    axes.set_xlim(*layout.x_limits_um)
    axes.set_ylim(*layout.y_limits_um)
    axes.set_aspect(layout.stretch)
    add_legend_below(figure)
    return figure


def _mark_contacts(axes: Axes, contact_ids: np.ndarray, layout: _Layout, removed_channels: Mapping[str, str]) -> None:
    kept = np.ones(len(contact_ids), dtype=bool)
    groups = group_removed_channels(removed_channels)
    for group in groups:
        kept[group.positions_in(contact_ids)] = False
    diameter = layout.marker_diameter_pt
    axes.scatter(
        layout.turned_um[kept, 0],
        layout.turned_um[kept, 1],
        s=diameter**2,
        marker="o",
        color=BLUE,
        linewidths=0,
        label=f"kept ({np.count_nonzero(kept)})",
        zorder=2,
    )
    for group in groups:
        # Larger than the kept ones: two dead contacts among 384 have to catch the eye.
        removed_um = layout.turned_um[group.positions_in(contact_ids)]
        axes.scatter(
            removed_um[:, 0],
            removed_um[:, 1],
            s=max(diameter * 1.3, 7.5) ** 2,
            marker=group.marker,
            facecolor=group.colour,
            edgecolor=BLACK,
            linewidths=0.6,
            label=group.legend_text,
            zorder=3,
        )


def _contacts(probe_or_recording: Probe | ProbeGroup | BaseRecording) -> tuple[np.ndarray, np.ndarray]:
    """Ids, shape (contacts,), and x and y positions in micrometres, shape (contacts, 2)."""
    from spikeinterface.core import BaseRecording

    if isinstance(probe_or_recording, BaseRecording):
        return np.asarray(probe_or_recording.channel_ids), probe_or_recording.get_channel_locations()
    probes = _probes(probe_or_recording)
    positions = np.concatenate([probe.contact_positions[:, :2] for probe in probes])
    if all(probe.contact_ids is not None for probe in probes):
        return np.concatenate([probe.contact_ids for probe in probes]), positions
    return np.arange(len(positions)), positions


def _outlines(probe_or_recording: Probe | ProbeGroup | BaseRecording) -> list[np.ndarray]:
    """The outlines of flat probes that have one, each in micrometres with shape (corners, 2)."""
    probes = _probes(probe_or_recording)
    return [
        np.asarray(probe.probe_planar_contour)
        for probe in probes
        if probe.probe_planar_contour is not None and probe.ndim == 2
    ]


def _probes(probe_or_recording: Probe | ProbeGroup | BaseRecording) -> list[Probe]:
    from probeinterface import Probe

    if isinstance(probe_or_recording, Probe):
        return [probe_or_recording]
    probes = getattr(probe_or_recording, "probes", None)
    return list(probes if probes is not None else probe_or_recording.get_probes())


@dataclass(frozen=True)
class _Layout:
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


def _lay_out(positions_um: np.ndarray) -> _Layout:
    extent_x, extent_y = np.ptp(positions_um, axis=0)
    laid_down = bool(extent_y > _LAID_DOWN_ASPECT * extent_x)
    turned_um = positions_um[:, ::-1] if laid_down else positions_um
    width_um, height_um = np.ptp(turned_um, axis=0)
    px_per_um = min(
        (_PLOT_WIDTH_PX - 2 * _MARGIN_PX) / max(width_um, 1e-9),
        (_TALLEST_PX - 2 * _MARGIN_PX) / max(height_um, 1e-9),
        _LARGEST_PX_PER_UM,
    )
    stretch = 1.0
    if 0 < height_um * px_per_um < _NARROWEST_PX:
        stretch = float(max(1, round(_NARROWEST_PX / (height_um * px_per_um))))
    height_px = max(height_um * px_per_um * stretch, _NARROWEST_PX / 2) + 2 * _MARGIN_PX
    centre_x, centre_y = (turned_um.min(axis=0) + turned_um.max(axis=0)) / 2
    half_width_um = _PLOT_WIDTH_PX / 2 / px_per_um
    half_height_um = height_px / 2 / (px_per_um * stretch)
    return _Layout(
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
