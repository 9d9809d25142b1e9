"""Units that are the same neuron found twice, by SpikeInterface."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sort_assets.curation.history import COINCIDENCE_MS, UnitId
from sort_assets.curation.in_memory_subset import in_memory_subset

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import BaseSorting, SortingAnalyzer

# Averages of the same spikes differ by the noise of those that one unit has and the other lacks.
_SAME_AMPLITUDE = 0.02


@dataclass(frozen=True)
class Duplicate:
    """A unit that is dropped for another one.

    Attributes
    ----------
    unit_id, of : int or str
        The dropped unit, and the better one.
    reason : str
        In words, with numbers.
    """

    unit_id: UnitId
    of: UnitId
    reason: str


def find_duplicates(analyzer: SortingAnalyzer, unit_ids: Sequence[UnitId], overlap: float) -> list[Duplicate]:
    """Find units that share their spikes with a better one.

    SpikeInterface finds the pairs. Of a pair the unit stays whose spikes are nearer to its waveform's peak; where that
    is equal, the one with the larger waveform; and where that is equal too, the one with more spikes. The first two
    are SpikeInterface's strategy "minimum_shift", which lets the noise of the averages decide between equal waveforms
    (0.105.3). A unit is only dropped for one that stays.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        It is not changed. Without templates, the number of spikes decides.
    unit_ids : sequence
        Units that are compared. Leave out what is rejected anyway, or a good unit may be dropped for a bad one.
    overlap : float
        Part of the spikes of the smaller unit, at least, that coincide with spikes of the other.

    Returns
    -------
    list of Duplicate
    """
    if len(unit_ids) < 2:
        return []
    from spikeinterface.core.template_tools import get_template_amplitudes, get_template_peak_shift_on_main_channel
    from spikeinterface.curation import find_redundant_units
    from spikeinterface.postprocessing import align_sorting

    light = in_memory_subset(analyzer, unit_ids, ["templates"])
    counts = light.sorting.count_num_spikes_per_unit(outputs="array").tolist()
    shifts, peaks = [0] * len(counts), [0.0] * len(counts)
    # Otherwise each unit's train is searched among all spikes: 2 s of 500 units.
    light.sorting.precompute_spike_trains()
    aligned = light.sorting
    if light.has_extension("templates"):
        by_unit = get_template_peak_shift_on_main_channel(light)
        shifts = [abs(int(by_unit[unit_id])) for unit_id in light.unit_ids]
        at_spike = get_template_amplitudes(light, peak_mode="at_index")
        peaks = [float(abs(at_spike[unit_id]).max()) for unit_id in light.unit_ids]
        # SpikeInterface's own `remove_redundant_units` moves spikes away from the peak instead of onto it (0.105.3).
        aligned = align_sorting(light.sorting, {unit_id: -shift for unit_id, shift in by_unit.items()})
    # SpikeInterface asks for more than the threshold, so that 1 would find nothing.
    pairs = find_redundant_units(aligned, delta_time=COINCIDENCE_MS, duplicate_threshold=math.nextafter(overlap, 0))
    qualities = [_Quality(*values) for values in zip(shifts, peaks, counts, strict=True)]
    partners: dict[int, list[int]] = {}
    for pair in pairs:
        first, second = (int(light.sorting.id_to_index(unit_id)) for unit_id in pair)
        partners.setdefault(first, []).append(second)
        partners.setdefault(second, []).append(first)

    def compare(first: int, second: int) -> int:
        return qualities[second].against(qualities[first])

    dropped: dict[int, Duplicate] = {}
    for best in sorted(partners, key=functools.cmp_to_key(compare)):
        if best in dropped:
            continue
        for worse in partners[best]:
            if worse not in dropped and qualities[best].against(qualities[worse]) >= 0:
                reason = _reason(aligned, unit_ids[worse], unit_ids[best], qualities[worse], qualities[best])
                dropped[worse] = Duplicate(unit_ids[worse], unit_ids[best], reason)
    return [dropped[unit] for unit in sorted(dropped)]


class _Quality(NamedTuple):
    """What decides which of two duplicates stays.

    Attributes
    ----------
    shift : int
        Samples from the unit's spikes to the peak of its waveform.
    peak : float
        Amplitude at its spikes, in microvolts.
    spikes : int
    """

    shift: int
    peak: float
    spikes: int

    def against(self, other: _Quality) -> int:
        """More than 0 when this one is better, less when the other is."""
        if self.shift != other.shift:
            return other.shift - self.shift
        if not math.isclose(self.peak, other.peak, rel_tol=_SAME_AMPLITUDE):
            return 1 if self.peak > other.peak else -1
        return self.spikes - other.spikes


def _reason(aligned: BaseSorting, dropped: UnitId, kept: UnitId, worse: _Quality, better: _Quality) -> str:
    shared = _coincidences(
        _train(aligned, dropped), _train(aligned, kept), round(COINCIDENCE_MS / 1000 * aligned.sampling_frequency)
    )
    what = (
        f"Duplicate of {kept}: {100 * shared / worse.spikes:.0f} % of its {worse.spikes:,} spikes are within "
        f"{COINCIDENCE_MS} ms of one of {kept}, "
    )
    if worse.shift != better.shift:
        return (
            f"{what}whose spikes are nearer to the peak of its waveform ({better.shift} samples, here {worse.shift})."
        )
    if not math.isclose(worse.peak, better.peak, rel_tol=_SAME_AMPLITUDE):
        return f"{what}whose waveform is larger ({better.peak:.0f} µV, here {worse.peak:.0f} µV)."
    if worse.spikes != better.spikes:
        return f"{what}which has more spikes ({better.spikes:,})."
    return f"{what}which is its equal."


def _train(sorting: BaseSorting, unit_id: UnitId) -> np.ndarray:
    """Spikes of a unit, all segments one after the other with a gap."""
    import numpy as np

    trains, start = [], 0
    for segment in range(sorting.get_num_segments()):
        train = sorting.get_unit_spike_train(unit_id, segment_index=segment).astype(np.int64)
        trains.append(train + start)
        start += int(train.max(initial=0)) + int(sorting.sampling_frequency)
    return np.concatenate(trains)


def _coincidences(first: np.ndarray, second: np.ndarray, delta: int) -> int:
    """How many spikes of the first train have one of the second within `delta` samples."""
    import numpy as np

    if not len(second):
        return 0
    after = np.searchsorted(second, first).clip(0, len(second) - 1)
    before = (after - 1).clip(0)
    nearest = np.minimum(abs(second[after] - first), abs(second[before] - first))
    return int((nearest <= delta).sum())
