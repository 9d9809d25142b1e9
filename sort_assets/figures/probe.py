"""The contacts of a probe, kept and removed ones, in micrometres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from probeinterface import Probe, ProbeGroup

from sort_assets.figures.channels import group_removed_channels
from sort_assets.figures.probe_layout import ProbeLayout, lay_out_probe
from sort_assets.figures.style import BLACK, BLUE, LIGHT_GREY, add_legend_below, style_axes

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


def draw_probe(
    probe_or_recording: Probe | ProbeGroup | BaseRecording, *, removed_channels: Mapping[str, str]
) -> Figure:
    """Draw where the contacts are, and which of them were removed.

    A probe that is much taller than wide lies on its side, so that ten millimetres of contacts still show. When its
    columns would fall together at equal scale, the direction across the probe is stretched and its axis says so.

    Parameters
    ----------
    probe_or_recording : Probe, ProbeGroup or BaseRecording
        The raw recording with its probe, removed channels included; or the probe alone.
    removed_channels : Mapping[str, str]
        From channel id to the reason, "dead" or "noise" for example. For a probe alone, from contact id, or from the
        contact's index where the probe has no ids.

    Raises
    ------
    ValueError
        When the recording has no probe.
    """
    contact_ids, positions_um = _contacts(probe_or_recording)
    layout = lay_out_probe(positions_um)
    figure, axes = layout.new_figure(legend_rows=1 + len(set(removed_channels.values())))
    for outline_um in _outlines(probe_or_recording):
        axes.fill(*layout.turned(outline_um).T, facecolor=LIGHT_GREY, edgecolor="none", zorder=0)
    _mark_contacts(axes, contact_ids, layout, removed_channels)

    title = f"Probe with {len(contact_ids):,} contact{'' if len(contact_ids) == 1 else 's'}"
    style_axes(axes, title=title, x_label=layout.x_label, y_label=layout.y_label)
    add_legend_below(figure)
    return figure


def _mark_contacts(
    axes: Axes, contact_ids: np.ndarray, layout: ProbeLayout, removed_channels: Mapping[str, str]
) -> None:
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

    if isinstance(probe_or_recording, Probe):
        return [probe_or_recording]
    probes = getattr(probe_or_recording, "probes", None)
    return list(probes if probes is not None else probe_or_recording.get_probes())
