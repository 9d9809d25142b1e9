"""The average waveforms of units, at the places of their channels on the probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sort_assets.figures.style import (
    BLACK,
    BLUE,
    GREY,
    NOTE_SIZE,
    message_figure,
    round_down,
    shorten_id,
)
from sort_assets.figures.unit_panels import label_panels, most_active_units, new_panels, no_units, title_of_choice

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer

# A spike is hardly seen on more channels, or farther away.
_CHANNELS_PER_UNIT = 9
_FARTHEST_UM = 100.0
_COLUMNS = 4
_CHARACTERS_IN_TITLE = 23
# Two contacts nearer than this across or along the probe count as one column or row.
_SAME_ROW_UM = 3.0


def draw_templates(
    analyzer: SortingAnalyzer,
    *,
    max_units: int = 24,
    unit_ids: Sequence[object] | None = None,
    kind: str = "",
    colour: str = BLUE,
) -> Figure:
    """Draw the average waveform of each unit on its main channel and the channels around it.

    One small panel for each unit. Waveforms lie where their channels are; each panel has a scale of its own, given by
    its bars, because amplitudes differ tenfold between units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        Sparse or dense, with its templates computed; it may hold no units.
    max_units : int
        How many units are drawn at most: those with the most spikes. The figure states how many there are.
    unit_ids : sequence or None
        Draw only of these units, which are compared as text; None draws of all.
    kind : str
        What these units are, for the title: "kept".
    colour : str
        Of the waveform on the main channel.

    Raises
    ------
    ValueError
        When the templates are not computed.
    """
    units = len(most_active_units(analyzer.sorting, analyzer.get_num_units(), unit_ids))
    if units == 0:
        return message_figure(no_units(kind), title="Average waveforms")
    unit_templates = _unit_templates(analyzer, most_active_units(analyzer.sorting, max_units, unit_ids))

    rows = -(-len(unit_templates) // _COLUMNS)
    figure, panels = new_panels(len(unit_templates), columns=_COLUMNS, margin_in=0.9, row_in=2.2 if rows <= 2 else 1.66)
    for (axes,), unit in zip(panels, unit_templates, strict=True):
        _draw_unit(axes, unit, colour)
    label_panels(
        figure,
        title=title_of_choice("Average waveforms", len(unit_templates), units, kind),
        note="Waveforms lie where their channels are on the probe; coloured is the main channel, named above.\n"
        "Every panel has its own scale: its upright bar measures amplitude, its level one time.",
    )
    return figure


@dataclass(frozen=True)
class _UnitTemplate:
    """What one panel shows.

    Attributes
    ----------
    unit_id, main_channel_id : str
        As text.
    depth_um : float
        The main channel's y on the probe.
    spikes : int
        Number of spikes of the unit.
    waveforms : np.ndarray
        Shape (samples, channels), the main channel first.
    positions_um : np.ndarray
        Shape (channels, 2), relative to the main channel.
    rate_hz : float
        Samples per second.
    unit_of_amplitude : str
        "µV", or a word when gains are not known.
    """

    unit_id: str
    main_channel_id: str
    depth_um: float
    spikes: int
    waveforms: np.ndarray
    positions_um: np.ndarray
    rate_hz: float
    unit_of_amplitude: str


def _unit_templates(analyzer: SortingAnalyzer, chosen: np.ndarray) -> list[_UnitTemplate]:
    """What the panels show of the units with these indices."""
    templates = analyzer.get_extension("templates")
    if templates is None:
        raise ValueError("The analyzer holds no templates: compute them before plotting.")
    spikes = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    waveforms = templates.get_templates(unit_ids=analyzer.unit_ids[chosen], operator="average")
    main_channels = analyzer.get_main_channels(outputs="index", with_dict=False)
    locations_um = analyzer.get_channel_locations()[:, :2]
    sparsity = analyzer.sparsity

    units = []
    for unit_index, unit_waveforms in zip(chosen, waveforms, strict=True):
        main = int(main_channels[unit_index])
        relative_um = locations_um - locations_um[main]
        distances_um = np.hypot(*relative_um.T)
        if sparsity is not None:
            distances_um = np.where(sparsity.mask[unit_index], distances_um, np.inf)
        nearest = np.argsort(distances_um, kind="stable")[:_CHANNELS_PER_UNIT]
        nearest = nearest[distances_um[nearest] <= _FARTHEST_UM]
        units.append(
            _UnitTemplate(
                unit_id=str(analyzer.unit_ids[unit_index]),
                main_channel_id=str(analyzer.channel_ids[main]),
                depth_um=float(locations_um[main, 1]),
                spikes=int(spikes[unit_index]),
                # A unit without spikes has no average.
                waveforms=np.nan_to_num(unit_waveforms[:, nearest]),
                positions_um=relative_um[nearest],
                rate_hz=analyzer.sampling_frequency,
                unit_of_amplitude="µV" if analyzer.return_in_uV else "stored units",
            )
        )
    return units


def _draw_unit(axes: Axes, unit: _UnitTemplate, colour: str) -> None:
    samples = len(unit.waveforms)
    width_um = 0.85 * _column_distance(unit.positions_um)
    largest = float(np.ptp(unit.waveforms, axis=0).max()) or 1.0
    um_per_uv = 2 * _row_distance(unit.positions_um) / largest
    offsets_um = np.linspace(-width_um / 2, width_um / 2, samples)
    for waveform, (x_um, y_um), is_main in zip(
        unit.waveforms.T, unit.positions_um, np.arange(len(unit.positions_um)) == 0, strict=True
    ):
        axes.plot(
            x_um + offsets_um,
            y_um + waveform * um_per_uv,
            color=colour if is_main else GREY,
            linewidth=1.4 if is_main else 0.9,
            zorder=2 if is_main else 1,
        )
    _add_scale_bars(axes, unit, um_per_uv, um_per_ms=width_um / (samples / unit.rate_hz * 1000), largest=largest)
    spikes, depth = f"{unit.spikes:,} spikes", f"y {unit.depth_um:.0f} µm"
    unit_id = shorten_id(unit.unit_id, max(_CHARACTERS_IN_TITLE - len(f"Unit , {spikes}"), 4))
    channel_id = shorten_id(unit.main_channel_id, max(_CHARACTERS_IN_TITLE - len(f"ch. , {depth}"), 4))
    axes.set_title(f"Unit {unit_id}, {spikes}\nch. {channel_id}, {depth}", fontsize=NOTE_SIZE, loc="left")
    axes.set_axis_off()


def _column_distance(positions_um: np.ndarray) -> float:
    """Micrometres from one channel to the next in the same row, the room for one waveform; 40 in a single column."""
    differences_um = np.abs(positions_um[:, None] - positions_um[None, :])
    same_row = differences_um[..., 1] < _SAME_ROW_UM
    across_um = differences_um[..., 0]
    in_row = across_um[same_row & (across_um >= _SAME_ROW_UM)]
    if in_row.size == 0:
        # Staggered columns never share a row, so neighbours may overlap a little.
        in_row = across_um[across_um >= _SAME_ROW_UM] * 1.5
    return float(in_row.min()) if in_row.size else 40.0


def _row_distance(positions_um: np.ndarray) -> float:
    """Micrometres from one row of channels to the next, half of the room for the largest waveform; 20 in one row."""
    heights_um = np.diff(np.unique(positions_um[:, 1]))
    rows_um = heights_um[heights_um >= _SAME_ROW_UM]
    return float(rows_um.min()) if rows_um.size else 20.0


def _add_scale_bars(axes: Axes, unit: _UnitTemplate, um_per_uv: float, *, um_per_ms: float, largest: float) -> None:
    """An upright bar in microvolts and a level one in milliseconds, from one corner below the waveforms."""
    duration_ms = len(unit.waveforms) / unit.rate_hz * 1000
    amplitude, time_ms = round_down(largest / 2), round_down(duration_ms / 2)
    drawn_um = unit.waveforms * um_per_uv + unit.positions_um[:, 1]
    # The text beside the bars is higher than a short bar: about an eighth of a panel.
    room_um = max(amplitude * um_per_uv, 0.13 * float(np.ptp(drawn_um)))
    left_um = unit.positions_um[:, 0].min() - duration_ms * um_per_ms / 2
    bottom_um = float(drawn_um.min()) - room_um - 0.05 * float(np.ptp(drawn_um))
    axes.plot(
        [left_um, left_um, left_um + time_ms * um_per_ms],
        [bottom_um + amplitude * um_per_uv, bottom_um, bottom_um],
        color=BLACK,
        linewidth=1.2,
        solid_joinstyle="miter",
        gid="scale bars",
    )
    axes.annotate(
        f"{amplitude:g} {unit.unit_of_amplitude}, {time_ms:g} ms",
        (left_um + time_ms * um_per_ms, bottom_um),
        xytext=(5, 0),
        textcoords="offset points",
        fontsize=NOTE_SIZE,
        va="bottom",
    )
