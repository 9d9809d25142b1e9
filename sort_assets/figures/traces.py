"""A moment of a recording, before and after filtering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.channels import channel_depths_um, depth_order
from sort_assets.figures.style import (
    BLACK,
    BLUE,
    GREY,
    LABEL_SIZE,
    NOTE_SIZE,
    TICK_SIZE,
    VERMILLION,
    new_figure,
    round_down,
    shorten_id,
    style_axes,
)

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

# How far a trace may run over its neighbours. Removed channels are often the loudest, and must not hide others.
_REACH_IN_ROWS = 3.0
_REACH_OF_REMOVED_IN_ROWS = 0.5
# Less is what a filter leaves of a constant by rounding.
_SMALLEST_UV = 1e-9
# Of the scale bar, in rows: below the lowest trace, which is row 0.
_BAR_BOTTOM = -2.3


def draw_traces(
    raw: BaseRecording,
    filtered: BaseRecording,
    *,
    start_s: float,
    duration_s: float = 0.05,
    max_channels: int = 24,
) -> Figure:
    """Draw the raw traces (left) and the filtered ones (right), stacked by depth.

    Each side has a scale of its own, given by its bar, because slow potentials and offsets dwarf what filtering leaves.
    From every trace its median is taken away. Channels that were removed keep their row, in another colour.

    Parameters
    ----------
    raw : BaseRecording
        Single-segment recording before filtering. Integers are scaled to microvolts where gains are known.
    filtered : BaseRecording
        Single-segment recording on the same time axis, with all or some of the channels of `raw`.
    start_s, duration_s : float
        Where the moment begins, from the first sample, and how long it is, in seconds. A moment that reaches past the
        end of the recording is moved to the end.
    max_channels : int
        How many channels are drawn at most, evenly spread over the depth.
    """
    order = depth_order(raw)
    if len(order) > max_channels:
        order = order[np.linspace(0, len(order) - 1, max_channels).round().astype(int)]
    channel_ids = np.asarray(raw.channel_ids)[order]
    remaining = np.isin(channel_ids, filtered.channel_ids)

    figure = new_figure(height_in=1.6 + 0.22 * max(len(order), 6))
    raw_axes, filtered_axes = figure.subplots(1, 2, sharey=True)
    first_s = _stack(raw_axes, raw, channel_ids, remaining, start_s, duration_s)
    _stack(filtered_axes, filtered, channel_ids, remaining, start_s, duration_s)

    left_out = len(raw.channel_ids) - len(order)
    title = f"Raw, {len(order)} of {len(raw.channel_ids)} channels" if left_out else "Raw"
    style_axes(raw_axes, title=title, y_label="Channel, in depth order")
    style_axes(filtered_axes, title="Filtered")
    figure.supxlabel(f"Time (ms), beginning {first_s:.6g} s into the recording", fontsize=LABEL_SIZE)
    raw_axes.set_yticks(range(len(order)), [shorten_id(channel_id) for channel_id in channel_ids])
    for label, is_kept in zip(raw_axes.get_yticklabels(), remaining, strict=True):
        label.set_color(BLACK if is_kept else VERMILLION)
    raw_axes.set_ylim(_BAR_BOTTOM - 0.1, len(order) + 0.5)
    _label_depths(filtered_axes, raw, order)
    return figure


def _stack(
    axes: Axes,
    recording: BaseRecording,
    channel_ids: np.ndarray,
    remaining: np.ndarray,
    start_s: float,
    duration_s: float,
) -> float:
    """Draw one side, a row for each channel that its recording has, and return the first time in seconds.

    `remaining` marks the rows of channels that filtering kept.
    """
    present = np.isin(channel_ids, recording.channel_ids)
    first_s, times_ms, traces, unit = _read(recording, channel_ids[present], start_s, duration_s)
    known = np.isfinite(traces).any(axis=0)
    traces[:, known] -= np.nanmedian(traces[:, known], axis=0)
    kept_traces = traces[:, remaining[present]]
    row_uv = _row_height(kept_traces if kept_traces.size else traces)
    reach_uv = row_uv * np.where(remaining[present], _REACH_IN_ROWS, _REACH_OF_REMOVED_IN_ROWS)
    is_cut = bool(np.any(np.abs(traces) > reach_uv))
    for row, trace in zip(np.flatnonzero(present), np.clip(traces, -reach_uv, reach_uv).T, strict=True):
        axes.plot(
            times_ms,
            row + trace / row_uv,
            color=BLUE if remaining[row] else VERMILLION,
            linewidth=0.6,
            zorder=2 if remaining[row] else 1,
        )
    for absent_row in np.flatnonzero(~present):
        axes.text(
            0.03,
            float(absent_row),
            "removed",
            transform=axes.get_yaxis_transform(),
            color=VERMILLION,
            fontsize=NOTE_SIZE,
            va="center",
            # Large spikes of the neighbouring rows run through this one.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    axes.set_xlim(times_ms[0], times_ms[-1])
    _add_scale_bar(axes, row_uv, unit, note=", peaks cut" if is_cut else "")
    return first_s


def _read(
    recording: BaseRecording, channel_ids: np.ndarray, start_s: float, duration_s: float
) -> tuple[float, np.ndarray, np.ndarray, str]:
    """The moment that exists: its first time in seconds; times in milliseconds since then, shape (samples,); traces,
    shape (samples, channels); and their unit.
    """
    rate_hz = recording.sampling_frequency
    total = recording.get_num_samples(segment_index=0)
    samples = min(max(round(duration_s * rate_hz), 2), total)
    first = min(max(round(start_s * rate_hz), 0), total - samples)
    in_uv = recording.has_scaleable_traces()
    unit = "µV" if in_uv else "stored units"
    times_ms = np.arange(samples) / rate_hz * 1000
    if len(channel_ids) == 0:
        # SpikeInterface can't read zero channels.
        return first / rate_hz, times_ms, np.empty((samples, 0)), unit
    traces = recording.get_traces(
        segment_index=0,
        start_frame=first,
        end_frame=first + samples,
        channel_ids=list(channel_ids),
        return_in_uV=in_uv,
    )
    return first / rate_hz, times_ms, np.array(traces, dtype=float), unit


def _row_height(traces: np.ndarray) -> float:
    """Microvolts between two rows: room for the noise and for most of the largest spikes; 1 for flat traces."""
    if traces.size == 0 or not np.isfinite(traces).any():
        return 1.0
    magnitudes = np.nan_to_num(np.abs(traces), posinf=0)
    # Noise as in SpikeInterface: the median absolute deviation, divided by its value for a unit normal distribution.
    noise = np.median(np.median(magnitudes, axis=0)) / 0.6745
    spikes = np.percentile(magnitudes.max(axis=0), 90)
    height_uv = float(max(6 * noise, 0.6 * spikes))
    return height_uv if height_uv > _SMALLEST_UV else 1.0


def _add_scale_bar(axes: Axes, row_uv: float, unit: str, *, note: str) -> None:
    """A vertical bar below the lowest trace, of a round number of microvolts that fits one row."""
    length_uv = round_down(row_uv)
    x = 0.02
    axes.plot(
        [x, x],
        [_BAR_BOTTOM, _BAR_BOTTOM + length_uv / row_uv],
        transform=axes.get_yaxis_transform(),
        color=BLACK,
        linewidth=2,
        solid_capstyle="butt",
    )
    axes.text(
        x + 0.025,
        _BAR_BOTTOM + length_uv / row_uv / 2,
        f"{length_uv:g} {unit}{note}",
        transform=axes.get_yaxis_transform(),
        fontsize=NOTE_SIZE,
        va="center",
    )


def _label_depths(axes: Axes, recording: BaseRecording, order: np.ndarray) -> None:
    """Give the depth of every third row or so at the right edge."""
    depths_um = channel_depths_um(recording)
    axes.tick_params(axis="y", left=False, labelleft=False)
    if depths_um is None:
        return
    depth_axis = axes.secondary_yaxis("right")
    rows = np.arange(0, len(order), max(1, len(order) // 8))
    depth_axis.set_yticks(rows, [f"{depths_um[order[row]]:g}" for row in rows])
    depth_axis.tick_params(labelsize=TICK_SIZE, color=GREY)
    depth_axis.set_ylabel("y on the probe (µm)", fontsize=LABEL_SIZE)
    depth_axis.spines["right"].set_visible(False)
