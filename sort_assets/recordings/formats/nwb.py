"""NWB files (HDF5). A stream is an electrical series, named by its path in the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
from spikeinterface.core import BaseRecording  # noqa: TID253
from spikeinterface.extractors.nwbextractors import NwbRecordingExtractor  # noqa: TID253

from sort_assets.errors import MissingProbeError, StreamError, UnreadableRecordingError
from sort_assets.recordings.clock import BrokenClockError, annotate_clocks, clock_from_timestamps, usual_rate_hz
from sort_assets.recordings.clock_doubts import annotate_clock_doubts, length_doubt
from sort_assets.recordings.formats.reading import (
    MIN_SORTABLE_RATE_HZ,
    choose_stream,
    clock_readable,
    open_hdf5,
    read_first_and_last_sample,
    readable,
)

# The groups in which NWB keeps signals; elsewhere there are only templates and analyses.
_SIGNAL_GROUPS = ("acquisition", "processing")
_FEW = 2


class NwbRecording(NwbRecordingExtractor):  # type: ignore[misc]
    """SpikeInterface's extractor with the rate at which the timestamps really come.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process.
    SpikeInterface (up to 0.105.3, the newest when this was written) takes the median of single differences, which in
    seconds since 1970 are off by up to a thousandth.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _, _, timestamps = self._reader.time_info(_FEW)
        if timestamps is not None:
            self._sampling_frequency = usual_rate_hz(timestamps)
            self.segments[0].sampling_frequency = self._sampling_frequency


def is_nwb(path: Path) -> bool:
    """Whether a path is an HDF5 file that calls itself NWB.

    Raises
    ------
    UnreadableRecordingError
        When an `.nwb` file is empty, truncated or no HDF5 file.
    """
    if path.suffix.lower() != ".nwb" or not path.is_file():
        return False
    with open_hdf5(path):
        return True


def nwb_streams(path: Path) -> tuple[str, ...]:
    """Paths of the electrical series that are fast enough to hold spikes, in natural order of the file.

    Raises
    ------
    UnreadableRecordingError
        When the file is empty, truncated or no HDF5 file.
    """
    return tuple(name for name, rate_hz in _rates(path).items() if rate_hz >= MIN_SORTABLE_RATE_HZ)


def open_nwb(path: Path, stream: str | None) -> BaseRecording:
    """Open one electrical series.

    Raises
    ------
    StreamError
        When the series does not exist, is too slow to be sorted, or must be named.
    MissingProbeError
        When electrodes of one group share a position, so that no probe can be made of them.
    UnreadableRecordingError
        When the file is damaged.
    """
    rates = _rates(path)
    if not rates:
        raise UnreadableRecordingError(
            f"'{path}' holds no electrical series.", remedy="Export it with the raw signal (ElectricalSeries)."
        )
    sortable = tuple(name for name, rate_hz in rates.items() if rate_hz >= MIN_SORTABLE_RATE_HZ)
    if stream is not None and stream.strip("/") in rates and stream.strip("/") not in sortable:
        raise StreamError(
            f"The series '{stream}' of '{path}' has {rates[stream.strip('/')]:.0f} samples per second, too few for "
            "spikes: it holds local field potentials.",
            remedy=f"Set recording.stream to one of: {', '.join(sortable) or 'none'}.",
        )
    series = choose_stream(path, stream, sortable)
    with readable(path):
        try:
            recording = NwbRecording(path, electrical_series_path=series)
        except ValueError as error:
            if "must be unique" not in str(error):
                raise
            raise MissingProbeError(
                f"'{path}' places several electrodes of one group at the same point: {error}",
                remedy="Correct rel_x and rel_y in the electrodes table, or give each tetrode or shank a group of its "
                "own; leave both columns out if positions are not known.",
            ) from error
    read_first_and_last_sample(recording, path)
    _follow_timestamps(recording, path, series, rates[series])
    return recording


def _follow_timestamps(recording: BaseRecording, path: Path, series: str, rate_hz: float) -> None:
    with open_hdf5(path) as file, clock_readable(path):
        timestamps = file[series].get("timestamps")
        if timestamps is None:
            if not math.isfinite(recording.get_start_time()):
                raise BrokenClockError("its starting_time is no number")
            return
        num_samples = int(recording.get_num_samples())
        annotate_clock_doubts(recording, length_doubt("timestamps", len(timestamps), num_samples, path))
        clock = clock_from_timestamps(timestamps, rate_hz)
        clock = replace(clock, nominal_is_stated=False)
        annotate_clocks(recording, [clock.cut(0, num_samples).extended(num_samples)])


def _rates(path: Path) -> dict[str, float]:
    """Sampling rate in Hz of each electrical series."""
    with open_hdf5(path) as file, readable(path):
        return {series.name.strip("/"): _rate(series) for series in _electrical_series(file)}


def _electrical_series(file: h5py.File) -> Iterator[h5py.Group]:
    groups = [file[name] for name in reversed(_SIGNAL_GROUPS) if name in file]
    while groups:
        group = groups.pop()
        if group.attrs.get("neurodata_type") == "ElectricalSeries":
            yield group
        else:
            groups.extend(child for child in reversed(list(group.values())) if isinstance(child, h5py.Group))


def _rate(series: h5py.Group) -> float:
    if "starting_time" in series:
        return float(series["starting_time"].attrs["rate"])
    return usual_rate_hz(series["timestamps"])
