"""Where units are and what they look like, of two sortings side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

_PLACE = ("x_um", "y_um")
_SHIFT_MS = 0.5
"""How far waveforms are shifted against each other for the best fit: sorters place spikes at different points of it."""


@dataclass(frozen=True)
class UnitPlaces:
    """Place and size of the units of a sorting, in its order.

    Attributes
    ----------
    channel : list of str
        Channel with the largest amplitude; empty where it is not known.
    amplitude_uv : np.ndarray
        Of the average waveform, in microvolts, shape (units,); NaN where it is not known.
    positions_um : np.ndarray
        Estimated positions on the probe in micrometres, shape (units, 2); NaN where they are not known.
    """

    channel: list[str]
    amplitude_uv: np.ndarray
    positions_um: np.ndarray

    @classmethod
    def unknown(cls, units: int) -> UnitPlaces:
        """Of units of which only spikes are known."""
        return cls([""] * units, np.full(units, np.nan), np.full((units, 2), np.nan))

    @classmethod
    def from_metrics(cls, unit_ids: list[str], metrics: pd.DataFrame) -> UnitPlaces:
        """From a table of metrics (`sort_assets.metrics.columns`), whose index has the units' ids as text."""
        rows = metrics.reindex(unit_ids)

        def numbers(name: str) -> np.ndarray:
            if name not in rows:
                return np.full(len(rows), np.nan)
            return rows[name].to_numpy(float, na_value=np.nan)

        named = rows["primary_channel"].tolist() if "primary_channel" in rows else [None] * len(rows)
        channels = [each if isinstance(each, str) else "" for each in named]
        return cls(channels, numbers("amplitude_uv"), np.stack([numbers(name) for name in _PLACE], axis=1))

    def distance_um(self, other: UnitPlaces, mine: int, theirs: int) -> float:
        """How far apart two units are; NaN where a position is not known."""
        return float(np.linalg.norm(self.positions_um[mine] - other.positions_um[theirs]))


def template_similarity(
    old: SortingAnalyzer | None, new: SortingAnalyzer | None, pairs: list[tuple[int, int]]
) -> np.ndarray:
    """Cosine similarity of the average waveforms of some pairs of units.

    On the channels that both analyzers have, at the shift of up to half a millisecond at which they fit best; 1 for
    waveforms that differ only in size.

    Parameters
    ----------
    old, new : SortingAnalyzer or None
        With the extension "templates"; without, nothing is known.
    pairs : list of (int, int)
        Indices of units.

    Returns
    -------
    np.ndarray
        Shape (pairs,); NaN where it is not known.
    """
    found = np.full(len(pairs), np.nan)
    if old is None or new is None or not (old.has_extension("templates") and new.has_extension("templates")):
        return found
    new_channels = {str(channel): index for index, channel in enumerate(new.channel_ids)}
    shared = [
        (index, new_channels[str(channel)])
        for index, channel in enumerate(old.channel_ids)
        if str(channel) in new_channels
    ]
    if not shared:
        return found
    before, after = zip(*shared, strict=True)
    waveforms = [each.get_extension("templates").get_templates(operator="average") for each in (old, new)]
    peaks = [each.get_extension("templates").nbefore for each in (old, new)]
    reach = round(_SHIFT_MS * old.sampling_frequency / 1000)
    for place, (one, other) in enumerate(pairs):
        first, second = waveforms[0][one][:, list(before)], waveforms[1][other][:, list(after)]
        found[place] = _best_cosine(first, second, peaks[1] - peaks[0], reach)
    return found


def _best_cosine(first: np.ndarray, second: np.ndarray, offset: int, reach: int) -> float:
    """Of two waveforms, shapes (samples, channels), whose peaks are `offset` samples apart; NaN of a flat one."""
    sizes = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    if sizes == 0:
        return float("nan")
    best = -1.0
    for shift in range(offset - reach, offset + reach + 1):
        begin, end = max(0, -shift), min(len(first), len(second) - shift)
        if end > begin:
            best = max(best, float(np.sum(first[begin:end] * second[begin + shift : end + shift])) / sizes)
    return best
