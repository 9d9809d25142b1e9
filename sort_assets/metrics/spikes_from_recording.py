"""What an analyzer takes out of the recording, in one pass: waveforms, templates, amplitudes, positions of spikes.

SpikeInterface 0.105.3 reads the recording once for each, scales all channels of it, and loops over spikes in Python.
The results are the same, but for the standard deviations, which differ within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.metrics.extensions import why_impossible
from sort_assets.metrics.recording_pass import Spikes, Task, all_spikes, can_be_read, read_once

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

# SpikeInterface's defaults of `create_sorting_analyzer` and `estimate_main_channel_from_recording`.
_SPIKES_FOR_MAIN_CHANNEL = 100
_MAIN_CHANNEL_MS = (1.0, 2.5)
_PEAK_SIGN, _PEAK_MODE = "both", "extremum"
# SpikeInterface's default of `LocalizeCenterOfMass`.
_LOCATION_RADIUS_UM = 75.0
# The peak of a template is known only after the pass. It is foretold from the first spikes of the unit, and samples to
# both sides are taken, as many as fit into this memory; of units where that is not enough, amplitudes are read again.
_SPIKES_THAT_FORETELL = 20
_MOST_SPARE_SAMPLES, _SPARE_BYTES = 15, 200e6


def main_channels(
    recording: BaseRecording, sorting: BaseSorting, *, seed: int | None, job_kwargs: Mapping[str, Any]
) -> np.ndarray | None:
    """The channel of each unit with its largest amplitude, as SpikeInterface's `create_sorting_analyzer` finds it.

    Parameters
    ----------
    recording : BaseRecording
    sorting : BaseSorting
    seed : int or None
        Of the choice of spikes; None chooses others every time.
    job_kwargs : Mapping[str, Any]
        `n_jobs` threads, `chunk_duration` seconds for each batch.

    Returns
    -------
    np.ndarray or None
        Index of the channel, shape (units,). None where that is left to SpikeInterface: for other sample types than
        those of a `.dat`, without spikes, and where the sorting knows its main channels.
    """
    vector = sorting.to_spike_vector()
    if not can_be_read(recording) or len(vector) == 0 or "main_channel_id" in sorting.get_property_keys():
        return None
    from spikeinterface.core.core_tools import ms_to_samples
    from spikeinterface.core.sorting_tools import random_spikes_selection
    from spikeinterface.core.template_tools import _get_main_channel_from_template_array

    from sort_assets.metrics.spike_kernels import add_windows

    before, after = (ms_to_samples(ms, recording.sampling_frequency) for ms in _MAIN_CHANNEL_MS)
    chosen = random_spikes_selection(
        sorting,
        [recording.get_num_samples()],
        max_spikes_per_unit=_SPIKES_FOR_MAIN_CHANNEL,
        margin_size=max(before, after),
        seed=seed,
    )
    spikes = all_spikes(vector, chosen)
    num_units = sorting.get_num_units()
    averages = np.zeros((num_units, before + after, recording.get_num_channels()), dtype="float32")

    def add(traces: np.ndarray, first: int, some: Spikes) -> None:
        add_windows(traces, first, some.samples, some.units, before, averages)

    read_once(recording, [Task(spikes, before, after, add)], job_kwargs)
    counts = np.bincount(spikes.units, minlength=num_units)
    averages[counts > 0] /= counts[counts > 0][:, None, None]
    found: np.ndarray = _get_main_channel_from_template_array(averages, _PEAK_MODE, _PEAK_SIGN, before)
    return found


def read_spikes(analyzer: SortingAnalyzer, *, ms_before: float, ms_after: float, job_kwargs: Mapping[str, Any]) -> bool:
    """Compute waveforms, templates, spike amplitudes and spike locations, as SpikeInterface does by default.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With its recording and the extension random_spikes.
    ms_before, ms_after : float
        What is cut out around a spike.
    job_kwargs : Mapping[str, Any]
        `n_jobs` threads, `chunk_duration` seconds for each batch.

    Returns
    -------
    bool
        False, and nothing is computed, where that is left to SpikeInterface: for other sample types than those of a
        `.dat`, and without spikes.
    """
    if not can_be_read(analyzer.recording) or len(analyzer.sorting.to_spike_vector()) == 0:
        return False
    waveforms = _new(analyzer, "waveforms", ms_before=ms_before, ms_after=ms_after)
    if waveforms.params["dtype"] != "<f4":
        return False
    found = _Pass(analyzer, waveforms, job_kwargs)
    _run(waveforms, found.read)
    templates = _new(analyzer, "templates", operators=["average", "std"])
    _run(templates, found.templates)
    amplitudes = _new(analyzer, "spike_amplitudes")
    _run(amplitudes, found.amplitudes)
    if found.locates:
        _run(_new(analyzer, "spike_locations"), found.locations)
    return True


def _new(analyzer: SortingAnalyzer, name: str, **params: Any) -> Any:
    """An extension of SpikeInterface that is not computed yet."""
    from spikeinterface.core.sortinganalyzer import get_extension_class

    extension = get_extension_class(name)(analyzer)
    extension.set_params(save=True, **params)
    return extension


def _run(extension: Any, compute: Callable[[Any], dict[str, np.ndarray]]) -> None:
    """Let SpikeInterface store what something else computes."""

    def run(**_: Any) -> None:
        extension.data.update(compute(extension))

    extension._run = run
    extension.run(save=True)
    extension.sorting_analyzer.extensions[extension.extension_name] = extension


@dataclass(frozen=True, eq=False)
class _OwnChannels:
    """Of each unit the channels that belong to it, shape (units, most), and their number, shape (units,)."""

    indices: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> _OwnChannels:
        """From a mask of shape (units, channels)."""
        counts = mask.sum(axis=1)
        first = np.argsort(~mask, axis=1, kind="stable")
        return cls(np.ascontiguousarray(first[:, : int(counts.max(initial=0))]), counts)


class _Pass:
    """One pass over the recording of an analyzer, and what was found in it."""

    def __init__(self, analyzer: SortingAnalyzer, waveforms: Any, job_kwargs: Mapping[str, Any]) -> None:
        self._analyzer, self._job_kwargs = analyzer, job_kwargs
        self._recording = analyzer.recording
        self._before, self._after = waveforms.nbefore, waveforms.nafter
        self._spikes = all_spikes(analyzer.sorting.to_spike_vector())
        self._chosen = all_spikes(
            analyzer.sorting.to_spike_vector(), analyzer.get_extension("random_spikes").get_data()
        )
        self._main = np.asarray(analyzer.get_main_channels(outputs="index"), dtype="int64")
        num_units, num_channels = len(analyzer.unit_ids), analyzer.get_num_channels()
        dense = np.ones((num_units, num_channels), dtype=bool)
        self._channels = _OwnChannels.of(dense if analyzer.sparsity is None else analyzer.sparsity.mask)
        shape = (num_units, self._before + self._after, self._channels.indices.shape[1])
        self._sums = np.zeros(shape, dtype="float32")
        self._exact_sums, self._exact_squares = np.zeros(shape), np.zeros(shape)
        self.locates = why_impossible(analyzer, "spike_locations") is None
        dtype = [("x", "float32"), ("y", "float32")]
        self._located = np.zeros(len(self._spikes) if self.locates else 0, dtype=dtype)
        self._begins = np.zeros(num_units, dtype="int64")
        sample_type = np.dtype(self._recording.get_dtype())
        affordable = int(_SPARE_BYTES / (2 * sample_type.itemsize * len(self._spikes)))
        self._spare = min(affordable, _MOST_SPARE_SAMPLES)
        self._around_peak = np.zeros((len(self._spikes), 2 * self._spare + 1), dtype=sample_type)

    def read(self, waveforms: Any) -> dict[str, np.ndarray]:
        """Read the recording once; returns the waveforms."""
        self._begins = self._foretold_shifts() - self._spare
        shape = (len(self._chosen), *self._sums.shape[1:])
        rows: np.ndarray
        if waveforms.format == "binary_folder":
            path = waveforms._get_binary_extension_folder() / "waveforms.npy"
            rows = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=shape)
        else:
            rows = np.zeros(shape, dtype="float32")
        tasks = [self._cut(rows.view(np.ndarray)), self._take(self._spikes, self._begins, self._around_peak)]
        if self.locates:
            tasks.append(self._locate())
        read_once(self._recording, tasks, self._job_kwargs)
        return {"waveforms": rows}

    def templates(self, _: Any) -> dict[str, np.ndarray]:
        """Average and standard deviation, on all channels; zero on those that are not the unit's."""
        counts = np.bincount(self._chosen.units, minlength=len(self._sums))
        found = counts > 0
        number = np.maximum(counts, 1)[:, None, None]
        average = self._sums.astype("float64") / number
        deviation = np.sqrt(np.maximum(self._exact_squares / number - (self._exact_sums / number) ** 2, 0))
        shape = (*self._sums.shape[:2], self._analyzer.get_num_channels())
        data = {"average": np.zeros(shape), "std": np.zeros(shape)}
        for name, values in (("average", average), ("std", deviation)):
            for unit in np.flatnonzero(found):
                own = self._channels.indices[unit, : self._channels.counts[unit]]
                # SpikeInterface computes them in the waveforms' own precision.
                data[name][unit][:, own] = values[unit, :, : len(own)].astype("float32")
        return data

    def amplitudes(self, _: Any) -> dict[str, np.ndarray]:
        """Of every spike at the peak of its unit's template."""
        from spikeinterface.core.template_tools import get_template_peak_shift_on_main_channel

        shifts = np.asarray(get_template_peak_shift_on_main_channel(self._analyzer, with_dict=False), dtype="int64")
        columns = shifts - self._begins
        inside = (columns >= 0) & (columns < self._around_peak.shape[1])
        units, rows = self._spikes.units, self._spikes.rows
        values = self._around_peak[rows, np.where(inside, columns, 0)[units]]
        if not inside.all():
            missed = self._spikes[~inside[units]]
            again = np.zeros((len(self._spikes), 1), dtype=values.dtype)
            read_once(self._recording, [self._take(missed, shifts, again)], self._job_kwargs)
            values[missed.rows] = again[missed.rows, 0]
        if self._analyzer.return_in_uV and self._recording.has_scaleable_traces():
            channels = self._main[units]
            values = values.astype("float32")
            values *= self._recording.get_channel_gains()[channels]
            values += self._recording.get_channel_offsets()[channels]
        return {"amplitudes": values}

    def locations(self, _: Any) -> dict[str, np.ndarray]:
        """Of every spike."""
        return {"spike_locations": self._located}

    def _foretold_shifts(self) -> np.ndarray:
        """Where the peak of each unit's template is likely to be, in samples after the spike's own."""
        of_unit = np.argsort(self._chosen.units, kind="stable")
        starts = np.searchsorted(self._chosen.units[of_unit], np.arange(len(self._main)))
        number = np.arange(len(of_unit)) - starts[self._chosen.units[of_unit]]
        few = self._chosen[np.sort(of_unit[number < _SPIKES_THAT_FORETELL])]
        windows = np.zeros((len(self._chosen), self._sums.shape[1]), dtype=self._recording.get_dtype())
        begins = np.full(len(self._main), -self._before)
        read_once(self._recording, [self._take(few, begins, windows)], self._job_kwargs)
        sums = np.zeros((len(self._main), windows.shape[1]))
        np.add.at(sums, few.units, windows[few.rows].astype(float))
        return np.asarray(np.abs(sums).argmax(axis=1) - self._before)

    def _cut(self, rows: np.ndarray) -> Task:
        from sort_assets.metrics.spike_kernels import cut_windows

        channels = self._analyzer.get_num_channels()
        gains, offsets = np.ones(channels, dtype="float32"), np.zeros(channels, dtype="float32")
        if self._analyzer.return_in_uV and self._recording.has_scaleable_traces():
            gains = self._recording.get_channel_gains().astype("float32")
            offsets = self._recording.get_channel_offsets().astype("float32")
        own = self._channels

        def cut(traces: np.ndarray, first: int, some: Spikes) -> None:
            which = (some.samples, some.units, some.rows)
            sums = (self._sums, self._exact_sums, self._exact_squares)
            cut_windows(traces, first, *which, self._before, own.indices, own.counts, gains, offsets, rows, *sums)

        return Task(self._chosen, self._before, self._after, cut)

    def _take(self, spikes: Spikes, begins: np.ndarray, values: np.ndarray) -> Task:
        from sort_assets.metrics.spike_kernels import take_windows

        def take(traces: np.ndarray, first: int, some: Spikes) -> None:
            take_windows(traces, first, some.samples, some.units, some.rows, begins, self._main, values)

        before, after = -int(begins.min()), int(begins.max()) + values.shape[1]
        return Task(spikes, max(before, 0), max(after, 1), take)

    def _locate(self) -> Task:
        from spikeinterface.core import get_channel_distances
        from spikeinterface.core.core_tools import ms_to_samples
        from spikeinterface.postprocessing.spike_locations import ComputeSpikeLocations

        from sort_assets.metrics.spike_kernels import centres_of_mass

        params = ComputeSpikeLocations(self._analyzer)._set_params()
        rate_hz = self._recording.sampling_frequency
        before, after = (ms_to_samples(params[name], rate_hz) for name in ("ms_before", "ms_after"))
        near = _OwnChannels.of(get_channel_distances(self._recording)[self._main] <= _LOCATION_RADIUS_UM)
        positions = np.ascontiguousarray(self._recording.get_channel_locations()[:, :2], dtype="float64")
        x, y = self._located["x"], self._located["y"]

        def locate(traces: np.ndarray, first: int, some: Spikes) -> None:
            which = (some.samples, some.units, some.rows)
            centres_of_mass(traces, first, *which, before, after, near.indices, near.counts, positions, x, y)

        return Task(self._spikes, before, after, locate)
