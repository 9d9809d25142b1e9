"""Noise of every channel, in depth order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.channels import RemovedChannels, group_removed_channels
from sort_assets.figures.style import (
    BLACK,
    BLUE,
    GREY,
    LEGEND_ROW_IN,
    add_horizontal_grid,
    add_legend_below,
    message_figure,
    new_figure,
    round_down,
    shorten_id,
    style_axes,
)

_CHANNELS_NAMED = 32
# Of all names in a row, with a space between each.
_CHARACTERS_IN_WIDTH = 75
# Beyond this ratio of loudest to typical channel, the typical ones would lie on the axis.
_LINEAR_RANGE = 10.0


def draw_noise_levels(
    noise_uv: np.ndarray,
    channel_ids: Sequence[object] | np.ndarray,
    *,
    removed_channels: Mapping[str, str],
    depths_um: np.ndarray | None = None,
) -> Figure:
    """Draw the noise of every channel in microvolts.

    Parameters
    ----------
    noise_uv : np.ndarray
        Noise of each channel in microvolts, shape (channels,); NaN where it is not known.
    channel_ids : sequence
        Ids of these channels, length (channels,).
    removed_channels : Mapping[str, str]
        From channel id to the reason. Those without a noise value are only listed.
    depths_um : np.ndarray or None
        Depth of each channel in micrometres, shape (channels,), by which channels are sorted. None keeps the order,
        which is then expected to be that of depth.

    Raises
    ------
    ValueError
        When the lengths differ.
    """
    noise_uv, ids = np.asarray(noise_uv, dtype=float), np.asarray(channel_ids)
    if noise_uv.shape != ids.shape or (depths_um is not None and np.shape(depths_um) != ids.shape):
        raise ValueError(f"{noise_uv.shape} noise values, {ids.shape} channel ids and the depths must match.")
    if depths_um is not None:
        order = np.argsort(depths_um, kind="stable")
        noise_uv, ids, depths_um = noise_uv[order], ids[order], np.asarray(depths_um)[order]

    if not np.isfinite(noise_uv).any():
        return message_figure("No noise values", title="Noise per channel")
    groups = group_removed_channels(removed_channels)
    # Beside removed channels, the legend names the median and the kept ones.
    figure = new_figure(3.2 + LEGEND_ROW_IN * (2 + len(groups)))
    axes = figure.add_subplot()
    kept = np.ones(len(ids), dtype=bool)
    for group in groups:
        kept[group.positions_in(ids)] = False
    median_uv = float(np.nanmedian(noise_uv[kept] if np.isfinite(noise_uv[kept]).any() else noise_uv))
    _mark_channels(axes, noise_uv, ids, kept, groups, median_uv)
    style_axes(
        axes,
        title=f"Noise of {len(ids)} channel{'' if len(ids) == 1 else 's'}",
        x_label=_label_channels(axes, ids, depths_um),
        y_label=_scale_noise(axes, float(np.nanmax(noise_uv)), median_uv),
    )
    add_legend_below(figure)
    return figure


def _mark_channels(
    axes: Axes,
    noise_uv: np.ndarray,
    ids: np.ndarray,
    kept: np.ndarray,
    groups: list[RemovedChannels],
    median_uv: float,
) -> None:
    places = np.arange(len(ids))
    axes.axhline(median_uv, color=GREY, linewidth=1, linestyle="--", label=f"median {median_uv:.3g} µV", zorder=1)
    size = float(np.clip(1500 / len(ids), 9, 45))
    axes.scatter(places[kept], noise_uv[kept], s=size, color=BLUE, linewidths=0, label=f"kept ({kept.sum()})", zorder=2)
    for group in groups:
        removed = group.positions_in(ids)
        axes.scatter(
            places[removed],
            noise_uv[removed],
            s=max(1.5 * size, 40),
            marker=group.marker,
            facecolor=group.colour,
            edgecolor=BLACK,
            linewidths=0.6,
            label=group.legend_text + ("" if len(removed) else " (not measured)"),
            zorder=3,
            # A dead channel at 0 lies on the axis, and shall be seen whole.
            clip_on=False,
        )
    add_horizontal_grid(axes)
    axes.set_xlim(-0.7, len(ids) - 0.3)


def _scale_noise(axes: Axes, largest_uv: float, median_uv: float) -> str:
    """Scale the axis so that both typical and very loud channels can be read; returns its label."""
    axes.set_ylim(0, 1.12 * largest_uv or 1.0)
    if not largest_uv > _LINEAR_RANGE * median_uv > 0:
        return "Noise (µV)"
    # Linear around the typical noise and down to zero, where dead channels are.
    linear_up_to_uv = round_down(4 * median_uv)
    axes.set_yscale("symlog", linthresh=linear_up_to_uv)
    decades_uv = 10.0 ** np.arange(np.floor(np.log10(linear_up_to_uv)) + 1, np.floor(np.log10(largest_uv)) + 1)
    ticks_uv = [0.0, linear_up_to_uv / 2, linear_up_to_uv, *decades_uv]
    axes.set_yticks(ticks_uv, [f"{tick_uv:g}" for tick_uv in ticks_uv])
    axes.set_yticks([], minor=True)
    return f"Noise (µV), logarithmic\nabove {linear_up_to_uv:g} µV"


def _label_channels(axes: Axes, ids: np.ndarray, depths_um: np.ndarray | None) -> str:
    """Name the channels when there is room, else give depths; returns what the axis then shows."""
    if len(ids) <= _CHANNELS_NAMED:
        names = [shorten_id(channel_id) for channel_id in ids]
        side_by_side = len(names) * (max(map(len, names)) + 1) <= _CHARACTERS_IN_WIDTH
        axes.set_xticks(range(len(names)), names, rotation=0 if side_by_side else 90)
        return "Channel, in depth order"
    if depths_um is None:
        return "Channel, by its place in depth order"
    places = np.linspace(0, len(ids) - 1, 8).round().astype(int)
    axes.set_xticks(places, [f"{depths_um[place]:g}" for place in places])
    return "Channel, in depth order; labels give its y (µm)"
