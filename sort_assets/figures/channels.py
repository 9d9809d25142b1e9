"""What the figures of channels share: how removed channels are marked, and the order in depth."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.figures.style import GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_KNOWN_MARKERS = {"dead": ("X", VERMILLION), "noise": ("^", ORANGE), "out": ("s", PURPLE)}
_OTHER_MARKERS = (("D", GREEN), ("v", SKY_BLUE), ("P", PURPLE))
_IDS_IN_LEGEND = 6
# What fits beside a mark in the width of a figure.
_CHARACTERS_IN_LEGEND = 66


@dataclass(frozen=True)
class RemovedChannels:
    """The channels that were removed for one reason, and how a figure marks them.

    Attributes
    ----------
    reason : str
        Such as "dead" or "noise".
    channel_ids : tuple of str
        In the order in which they were given.
    marker, colour : str
        Of matplotlib; together they differ between reasons for every kind of colour vision.
    """

    reason: str
    channel_ids: tuple[str, ...]
    marker: str
    colour: str

    @property
    def legend_text(self) -> str:
        """Reason, number and the first ids that fit, so that no id has to be written into the picture."""
        named = ", ".join(self.channel_ids[:_IDS_IN_LEGEND])
        more = ", …" if len(self.channel_ids) > _IDS_IN_LEGEND else ""
        text = f"removed, {self.reason} ({len(self.channel_ids)}): {named}{more}"
        return textwrap.shorten(text, _CHARACTERS_IN_LEGEND, placeholder=" …")

    def positions_in(self, channel_ids: np.ndarray) -> np.ndarray:
        """Indices into `channel_ids`, shape (channels,), of the channels that were removed for this reason."""
        return np.flatnonzero(np.isin(channel_ids.astype(str), self.channel_ids))


def group_removed_channels(removed_channels: Mapping[str, str]) -> list[RemovedChannels]:
    """Group removed channels by reason, sorted by the reason's name.

    Parameters
    ----------
    removed_channels : Mapping[str, str]
        From channel id to the reason: "dead", "noise", "out" or any other word.
    """
    ids_by_reason: dict[str, list[str]] = {}
    for channel_id, reason in removed_channels.items():
        ids_by_reason.setdefault(reason, []).append(str(channel_id))
    groups = []
    unknown_reasons = sorted(set(ids_by_reason) - set(_KNOWN_MARKERS))
    for reason in sorted(ids_by_reason):
        if reason in _KNOWN_MARKERS:
            marker, colour = _KNOWN_MARKERS[reason]
        else:
            marker, colour = _OTHER_MARKERS[unknown_reasons.index(reason) % len(_OTHER_MARKERS)]
        groups.append(RemovedChannels(reason, tuple(ids_by_reason[reason]), marker, colour))
    return groups


def depth_order(recording: BaseRecording) -> np.ndarray:
    """Channel indices from the smallest y upward, shape (channels,); the stored order where there is no probe."""
    if not recording.has_probe():
        return np.arange(recording.get_num_channels())
    from spikeinterface.core import order_channels_by_depth

    return np.asarray(order_channels_by_depth(recording)[0])


def channel_depths_um(recording: BaseRecording) -> np.ndarray | None:
    """The y position of every channel in micrometres, shape (channels,); None where there is no probe."""
    return np.asarray(recording.get_channel_locations()[:, 1]) if recording.has_probe() else None
