"""How well injected units were found: each of them, and by amplitude, signal-to-noise ratio and depth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sort_assets.hybrid.placement import InjectedUnit

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

SNR_EDGES = (0.0, 4.0, 6.0, 9.0, 13.0, math.inf)
AMPLITUDE_EDGES_UV = (0.0, 25.0, 50.0, 100.0, 200.0, math.inf)
DEPTHS = 4
"""Number of equal parts of the probe's length."""
CHANCE_AGREEMENT = 0.1
"""Agreement (matched spikes over all spikes of both units) below which an injected unit counts as not found at all:
SpikeInterface's `chance_score`."""
MATCH_MS = 0.4
"""How far a found spike may be from the true one; SpikeInterface's default."""
FOUND_WELL = 0.8
"""Accuracy from which a unit counts as found well; SpikeInterface's `well_detected_score`, and that of SpikeForest."""
_Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class UnitAccuracy:
    """How well an injected unit was found.

    Attributes
    ----------
    unit_id, donor : str
    snr, amplitude_uv, depth_um, displacement_um, firing_rate_hz : float
        As it was injected.
    spikes : int
        How often it was injected.
    found_as : str
        The found unit that is most like it; empty where none is.
    found_spikes : int
        Spikes of that unit.
    matched : int
        Those of them that are true.
    """

    unit_id: str
    donor: str
    snr: float
    amplitude_uv: float
    depth_um: float
    displacement_um: float
    firing_rate_hz: float
    spikes: int
    found_as: str = ""
    found_spikes: int = 0
    matched: int = 0

    @property
    def recall(self) -> float:
        """Part of its spikes that were found; 0 where the unit was not."""
        return self.matched / self.spikes if self.spikes else math.nan

    @property
    def precision(self) -> float:
        """Part of the found unit's spikes that are true; NaN where the unit was not found."""
        return self.matched / self.found_spikes if self.found_spikes else math.nan

    @property
    def accuracy(self) -> float:
        """Matched spikes over all spikes of both; 0 where the unit was not found."""
        every = self.spikes + self.found_spikes - self.matched
        return self.matched / every if every else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which ``UnitAccuracy(**values)`` makes it again."""
        return asdict(self)


@dataclass(frozen=True)
class Share:
    """A mean over units, with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        NaN where there are no units.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Share:
        """Mean of values in [0, 1] with Wilson's score interval (J. Am. Stat. Assoc. 22 (1927) 209), one unit as one
        observation.

        The spikes of a unit are not independent of each other, and so don't count. Among all values in [0, 1] with a
        given mean, those of yes and no vary most: the interval is rather too wide than too narrow.
        """
        known = [value for value in values if math.isfinite(value)]
        if not known:
            return cls(math.nan, math.nan, math.nan)
        number, mean = len(known), sum(known) / len(known)
        spread = _Z * math.sqrt(mean * (1 - mean) / number + _Z**2 / (4 * number**2))
        low, high = (mean + _Z**2 / (2 * number) + sign * spread for sign in (-1, 1))
        width = 1 + _Z**2 / number
        return cls(mean, max(0.0, low / width), min(1.0, high / width))


@dataclass(frozen=True)
class AccuracyBin:
    """Injected units that have something in common.

    Attributes
    ----------
    low, high : float
        From where, and below where, the quantity is by which they were put together; `high` may be infinite.
    units : int
        How many were injected.
    found_well : int
        How many were found with an accuracy of at least `FOUND_WELL`.
    recall, precision, accuracy : Share
        Precision is of those that were found.
    """

    low: float
    high: float
    units: int
    found_well: int
    recall: Share
    precision: Share
    accuracy: Share

    def holds(self, value: float) -> bool:
        """Whether a value of the quantity belongs here."""
        return self.low <= value < self.high

    @property
    def words(self) -> str:
        """What it says of units like these, as a sentence without its end."""
        if not self.units:
            return "no unit like this one was injected"
        if math.isnan(self.precision.value):
            return "units like this one are not found"
        return (
            f"units like this one are found with precision {self.precision.value:.2f} and recall "
            f"{self.recall.value:.2f}"
        )


def measure_accuracy(units: Sequence[InjectedUnit], truth: BaseSorting, found: BaseSorting) -> list[UnitAccuracy]:
    """Compare what a sorter found with the injected spikes.

    SpikeInterface pairs each injected unit with at most one found unit, so that the sum of agreements is largest
    (Hungarian method), and counts spikes that are within `MATCH_MS` of each other.

    Parameters
    ----------
    units : sequence of InjectedUnit
    truth : BaseSorting
        Their spikes, in the same order.
    found : BaseSorting
        What the sorter found in the hybrid recording, the recording's own units among it; it may be empty.
    """
    counts = truth.count_num_spikes_per_unit(outputs="dict") if units else {}
    described = {unit.unit_id: _describe(unit, int(counts[unit.unit_id])) for unit in units}
    if not units or not found.get_num_units() or not found.to_spike_vector().size:
        return list(described.values())
    from spikeinterface.comparison import compare_sorter_to_ground_truth

    compared = compare_sorter_to_ground_truth(
        truth, found, delta_time=MATCH_MS, match_score=CHANCE_AGREEMENT, match_mode="hungarian", exhaustive_gt=False
    )
    found_counts = found.count_num_spikes_per_unit(outputs="dict")
    partners, score = compared.hungarian_match_12, compared.count_score
    for unit_id, one in described.items():
        partner = partners[unit_id]
        matched = min(int(score.loc[unit_id, "tp"]), one.spikes)
        if matched:
            described[unit_id] = UnitAccuracy(
                **{
                    **one.to_dict(),
                    "found_as": str(partner),
                    "found_spikes": int(found_counts[partner]),
                    "matched": matched,
                }
            )
    return list(described.values())


def accuracy_table(measured: Sequence[UnitAccuracy]) -> pd.DataFrame:
    """One row for each injected unit, index `unit_id`: its fields, and recall, precision and accuracy."""
    rows = [
        {**one.to_dict(), "recall": one.recall, "precision": one.precision, "accuracy": one.accuracy}
        for one in measured
    ]
    columns = [*UnitAccuracy.__dataclass_fields__, "recall", "precision", "accuracy"]
    return pd.DataFrame(rows, columns=columns).set_index("unit_id")


def overall(measured: Sequence[UnitAccuracy]) -> AccuracyBin:
    """All injected units together."""
    return _bin(-math.inf, math.inf, measured)


def by_snr(measured: Sequence[UnitAccuracy]) -> list[AccuracyBin]:
    """By signal-to-noise ratio, at `SNR_EDGES`."""
    return _by(measured, [one.snr for one in measured], SNR_EDGES)


def by_amplitude(measured: Sequence[UnitAccuracy]) -> list[AccuracyBin]:
    """By amplitude in microvolts, at `AMPLITUDE_EDGES_UV`."""
    return _by(measured, [one.amplitude_uv for one in measured], AMPLITUDE_EDGES_UV)


def by_depth(measured: Sequence[UnitAccuracy]) -> list[AccuracyBin]:
    """By place along the probe in micrometres, in `DEPTHS` equal parts of where units were injected."""
    depths = [one.depth_um for one in measured]
    if not depths:
        return []
    if min(depths) == max(depths):
        return _by(measured, depths, (depths[0], math.inf))
    edges = np.linspace(min(depths), max(depths), DEPTHS + 1).tolist()
    return _by(measured, depths, (*edges[:-1], math.nextafter(edges[-1], math.inf)))


def _describe(unit: InjectedUnit, spikes: int) -> UnitAccuracy:
    return UnitAccuracy(
        unit_id=unit.unit_id,
        donor=unit.donor,
        snr=unit.snr,
        amplitude_uv=unit.amplitude_uv,
        depth_um=unit.depth_um,
        displacement_um=unit.displacement_um,
        firing_rate_hz=unit.firing_rate_hz,
        spikes=spikes,
    )


def _by(measured: Sequence[UnitAccuracy], values: Sequence[float], edges: Sequence[float]) -> list[AccuracyBin]:
    return [
        _bin(low, high, [one for one, value in zip(measured, values, strict=True) if low <= value < high])
        for low, high in pairwise(edges)
    ]


def _bin(low: float, high: float, measured: Sequence[UnitAccuracy]) -> AccuracyBin:
    return AccuracyBin(
        low=low,
        high=high,
        units=len(measured),
        found_well=sum(one.accuracy >= FOUND_WELL for one in measured),
        recall=Share.of(one.recall for one in measured),
        precision=Share.of(one.precision for one in measured),
        accuracy=Share.of(one.accuracy for one in measured),
    )
