"""NWB, a file (HDF5) or a zarr folder. A stream is an electrical series, named by its path in the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import BaseRecording  # noqa: TID253
from spikeinterface.extractors.nwbextractors import (  # noqa: TID253
    NwbRecordingExtractor,
    NwbRecordingSegment,
    _NWBReader,
)

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingProbeError, StreamError, UnreadableRecordingError
from sort_assets.recordings.clock import BrokenClockError, Clock, annotate_clocks
from sort_assets.recordings.clock_doubts import annotate_clock_doubts, length_doubt
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.chunk_cache import with_chunk_cache
from sort_assets.recordings.formats.compression_filters import check_filters, register_filters
from sort_assets.recordings.formats.hdf5_values import quick_values
from sort_assets.recordings.formats.nwb_electrodes import ELECTRODES, electrodes_problem, readable_columns
from sort_assets.recordings.formats.nwb_series import Series, find_series
from sort_assets.recordings.formats.nwb_zarr import (
    ZarrNwbReader,
    find_zarr_series,
    is_zarr_nwb,
    note_missing_chunks,
    open_zarr_nwb,
    series_members,
)
from sort_assets.recordings.formats.reading import (
    LINKED_FILE,
    MIN_SORTABLE_RATE_HZ,
    choose_stream,
    clock_readable,
    open_hdf5,
    read_first_and_last_sample,
    readable,
    unique_names,
)
from sort_assets.recordings.formats.remembered_clocks import remembered_clock
from sort_assets.recordings.formats.stated_numbers import stated_number
from sort_assets.recordings.probes import DEPTH_LEFT_OUT, planar_positions
from sort_assets.recordings.timestamps import clock_from_timestamps, usual_rate_hz

_FEW = 2
_START = "Correct starting_time in the file: the time of the first sample in seconds."
_NO_PROPERTIES = frozenset({"id", "rel_x", "rel_y", "rel_z", "group", "group_name", "channel_name", "offset"})
"""Columns of the electrodes table that are not handed on as properties of channels: they are something else of it."""


class NwbRecording(NwbRecordingExtractor):  # type: ignore[misc]
    """One electrical series, read by SpikeInterface's reader.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process. In place of
    SpikeInterface's extractor (up to 0.105.3, the newest when this was written), which places electrodes of a plane
    along z on top of each other, hands on a third coordinate that Phy can't read, fails where two channels have the
    same name, and takes for the rate the median of single differences of timestamps, which in seconds since 1970 are
    off by up to a thousandth.

    Parameters
    ----------
    file_path : str or Path
        The `.nwb` file, or the zarr folder.
    electrical_series_path : str
        The series.
    with_probe : bool
        Whether the electrodes are placed as the file says.
    """

    def __init__(self, file_path: str | Path, electrical_series_path: str, with_probe: bool = True) -> None:
        file_path = Path(file_path)
        register_filters()
        self._reader: Any = (
            ZarrNwbReader(electrical_series_path)
            if file_path.is_dir()
            else _NWBReader(reading_method="use_hdf5", electrical_series_path=electrical_series_path)
        )
        ids = self._read_electrodes(file_path, electrical_series_path, needed=with_probe)
        rate_hz, start_time_s, timestamps = self._reader.time_info(_FEW)
        if timestamps is not None:
            rate_hz = usual_rate_hz(timestamps)
            start_time_s = start_time_s if np.isfinite(start_time_s) else 0.0  # its clock says so
        else:
            field = f"starting_time of {electrical_series_path}"
            start_time_s = stated_number(start_time_s, field, file_path, remedy=_START)
        BaseRecording.__init__(
            self,
            channel_ids=unique_names(ids) if isinstance(ids[0], str) else ids,
            sampling_frequency=float(rate_hz),
            dtype=self._reader.dtype(),
        )
        times = {"sampling_frequency": float(rate_hz), "t_start": float(start_time_s)}
        self.add_recording_segment(NwbRecordingSegment(with_chunk_cache(self._reader.data()), times))
        has_table = self._reader.electrodes_table is not None
        if "conversion" in self._reader.data().attrs:
            self.set_channel_gains(self._microvolts(self._reader.gain_to_volts))
        if has_table:
            self.set_channel_offsets(self._microvolts(self._reader.offset_to_volts))
        else:
            self.set_channel_offsets(self._microvolts(lambda: self._reader.data().attrs.get("offset", 0.0)))
        for column in readable_columns(self._reader.electrodes_table) if has_table else ():
            values = None if column in _NO_PROPERTIES else self._reader.read_electrode_property(column)
            if values is not None:
                self.set_property("brain_area" if column == "location" else column, values)
        groups = self._reader.groups() if has_table else None
        if with_probe:
            self._place(groups)
        if groups is not None:
            self.set_channel_groups(groups)
        self.extra_requirements.append("zarr" if file_path.is_dir() else "h5py")
        self._kwargs = {
            "file_path": str(file_path.absolute()),
            "electrical_series_path": electrical_series_path,
            "with_probe": with_probe,
        }

    def _microvolts(self, read_volts: Callable[[], Any]) -> np.ndarray:
        """A gain or offset for each channel; NaN where no numbers are stated, or not as many, which is told later."""
        try:
            return np.array(np.broadcast_to(np.asarray(read_volts(), dtype=float) * 1e6, self.get_num_channels()))
        except (TypeError, ValueError, OverflowError):
            return np.full(self.get_num_channels(), np.nan)

    def _read_electrodes(self, file_path: Path, series: str, *, needed: bool) -> list[Any]:
        """Open the series and its part of the table of electrodes; returns the ids of the channels.

        Where the electrodes are not needed and can't be read, there is no table, and channels are counted.
        """
        problem = self._open(file_path, series)
        self._check_shape(series, file_path)
        if problem is None:
            if not needed and self._has_other_electrodes():
                self._reader.electrodes_table = None
            elif needed:
                self._check_electrodes(series, file_path)
        elif needed:
            raise UnreadableRecordingError(
                f"The electrodes of the series '{series}' in '{file_path}' can't be read: {problem}.",
                remedy="Write the file again with the electrodes of this series, or set recording.probe_file to a "
                "probeinterface JSON file with the positions of its channels.",
            )
        if self._reader.electrodes_table is not None:
            return list(self._reader.channel_ids())
        shape = self._reader.data().shape
        return list(range(1 if len(shape) == 1 else shape[1]))

    def _open(self, path: Path, series: str) -> str | None:
        """Open the series; returns why its electrodes can't be read, None where they can."""
        if path.is_dir():
            self._reader.load_recording(file_path=path)
            problem: str | None = self._reader.electrodes_problem
            return problem
        with open_hdf5(path) as file:
            problem = electrodes_problem(file[series].get("electrodes"), file[series].file.get(ELECTRODES))
        if problem is None:
            self._reader.load_recording(file_path=path)
        else:
            # As `load_recording` does, up to the electrodes.
            self._reader._open_handle(file_path=path, file=None, stream_mode=None, cache=False, stream_cache_path=None)
            self._reader.series = self._reader._locate_electrical_series("hdf5")
        return problem

    def _has_other_electrodes(self) -> bool:
        """Whether there are not as many electrodes as columns of samples."""
        shape = self._reader.data().shape
        return len(self._reader.electrodes_indices) != (1 if len(shape) == 1 else shape[1])

    def _check_shape(self, series: str, path: Path) -> None:
        """Check that samples are in rows: by the numbers of timestamps and electrodes, or else as there are more."""
        shape, timestamps = self._reader.data().shape, self._reader.series.get("timestamps")
        if len(shape) not in (1, 2):
            raise UnreadableRecordingError(
                f"The samples of '{series}' in '{path}' have shape {tuple(shape)}.",
                remedy="Write the file again with samples of shape (times, channels).",
            )
        num_times = None if timestamps is None else len(timestamps)
        electrodes = self._reader.electrodes_indices
        num_electrodes = None if electrodes is None else len(electrodes)
        if len(shape) == 1 or shape[0] == num_times or shape[1] == num_electrodes:
            return
        if shape[0] >= shape[1] and shape[0] != num_electrodes:
            return
        raise UnreadableRecordingError(
            f"The samples of '{series}' in '{path}' have {shape[1]} columns and {shape[0]} rows: "
            "rows and columns are exchanged.",
            remedy="Write the file again with samples of shape (times, channels).",
        )

    def _check_electrodes(self, series: str, path: Path) -> None:
        """Check that each column of samples has its electrode."""
        shape, num_electrodes = self._reader.data().shape, len(self._reader.electrodes_indices)
        num_columns = 1 if len(shape) == 1 else shape[1]
        if self._has_other_electrodes():
            raise UnreadableRecordingError(
                f"The samples of '{series}' in '{path}' have {num_columns} columns, and "
                f"{num_electrodes} electrodes are named.",
                remedy="Write the file again with samples of shape (times, channels), and the electrodes of these "
                "channels; or set recording.probe_file to a probeinterface JSON file with the positions of these "
                "channels.",
            )

    def _place(self, groups: np.ndarray | None) -> None:
        """Set a probe for each group, whose positions are counted within it."""
        locations = self._reader.locations()
        if locations is None or not np.isfinite(locations[:, :2]).any():
            return
        groups = np.zeros(len(locations)) if groups is None else groups
        positions, depth_left_out = planar_positions(locations, groups)
        probes = ProbeGroup()
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group)
            probe = Probe(ndim=2, si_units="um")
            probe.set_contacts(positions[members], shapes="circle", shape_params={"radius": 1})
            probe.set_device_channel_indices(members)
            probes.add_probe(probe)
        self.set_probegroup(probes, check_overlap=False)
        self.annotate(**{DEPTH_LEFT_OUT: depth_left_out})


def is_nwb(path: Path) -> bool:
    """Whether a path is an HDF5 file, or a zarr folder, that calls itself NWB.

    Raises
    ------
    UnreadableRecordingError
        When an `.nwb` file is empty, truncated or no HDF5 file, or a zarr folder is damaged or has format 3.
    """
    if path.is_dir():
        return is_zarr_nwb(path)
    if path.suffix.lower() != ".nwb" or not path.is_file():
        return False
    with open_hdf5(path):
        return True


def nwb_streams(path: Path) -> tuple[str, ...]:
    """Paths of the electrical series that are fast enough to hold spikes, in natural order of the file.

    Also of those in other files to which this one has a link, and of links that lead nowhere.

    Raises
    ------
    UnreadableRecordingError
        When the file is empty, truncated or no HDF5 file.
    """
    return tuple(name for name, series in _find_series(path).items() if series.may_hold_spikes)


def open_nwb(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open one electrical series.

    Returns
    -------
    BaseRecording
        Its annotation `LINKED_FILE` names the file that holds the samples, where that is another one.

    Raises
    ------
    StreamError
        When the series does not exist, is too slow to be sorted, or must be named.
    MissingProbeError
        When electrodes of one group share a position, so that no probe can be made of them.
    UnreadableRecordingError
        When the file is damaged.
    """
    found = _find_series(path)
    if not found:
        raise UnreadableRecordingError(
            f"'{path}' holds no electrical series.", remedy="Export it with the raw signal (ElectricalSeries)."
        )
    sortable = tuple(name for name, series in found.items() if series.may_hold_spikes)
    name = next(iter(found)) if stream is None else stream.strip("/")
    if name in found and name not in sortable and (stream is not None or not sortable):
        raise StreamError(
            f"The series '{name}' of '{path}' has {found[name].why_too_slow}."
            if stream is not None
            else f"'{path}' holds no stream that can be sorted (at least {MIN_SORTABLE_RATE_HZ:.0f} Hz): '{name}' has "
            f"{found[name].why_too_slow}.",
            remedy=_remedy_for_slow(found[name], sortable),
        )
    broken = [name for name in sortable if found[name].problem is not None]
    series = found[choose_stream(path, stream, sortable, broken)]
    if series.problem is not None:
        raise series.problem
    missing = Missing(config.accept_incomplete)
    if path.is_dir():
        note_missing_chunks(path, series.path, missing)
    else:
        with open_hdf5(series.file) as file, readable(series.file):
            check_filters(file[series.path]["data"], series.file)
    with readable(path):
        try:
            recording = NwbRecording(series.file, series.path, with_probe=config.probe_file is None)
        except ValueError as error:
            if "must be unique" not in str(error):
                raise
            raise MissingProbeError(
                f"'{path}' places several electrodes of one group at the same point: {error}",
                remedy="Set recording.probe_file to a probeinterface JSON file with their positions; or correct rel_x "
                "and rel_y in the electrodes table, or give each tetrode or shank a group of its own.",
            ) from error
    read_first_and_last_sample(recording, path)
    _follow_timestamps(recording, series.file, series.path, series.rate_hz)
    if series.samples_file != path:
        recording.annotate(**{LINKED_FILE: str(series.samples_file.resolve())})
    missing.annotate(recording)
    return recording


def _find_series(path: Path) -> dict[str, Series]:
    return find_zarr_series(path) if path.is_dir() else find_series(path)


def _remedy_for_slow(series: Series, sortable: Sequence[str]) -> str:
    remedies = []
    if sortable:
        remedies.append(f"Set recording.stream to one of: {', '.join(sortable)}.")
    if not series.rate_is_stated:
        remedies.append(
            "If its timestamps are in milliseconds, or numbers of samples, export it again with timestamps in seconds, "
            "or with a rate instead."
        )
    elif not sortable:
        remedies.append("Check that the file holds the wide-band signal, not only local field potentials.")
    return " ".join(remedies)


@contextmanager
def _open_timestamps(path: Path, series: str) -> Iterator[Any]:
    """The timestamps of a series, None where it has none."""
    if path.is_dir():
        with readable(path):
            yield series_members(open_zarr_nwb(path), series, path).get("timestamps")
    else:
        with open_hdf5(path) as file, readable(path):
            yield file[series].get("timestamps")


def _follow_timestamps(recording: BaseRecording, path: Path, series: str, rate_hz: float) -> None:
    def read() -> Clock:
        if path.is_dir():
            return clock_from_timestamps(timestamps, rate_hz)
        with quick_values(timestamps) as values:
            return clock_from_timestamps(values, rate_hz)

    with _open_timestamps(path, series) as timestamps, clock_readable(path):
        if timestamps is None:
            if not math.isfinite(recording.get_start_time()):
                raise BrokenClockError("its starting_time is no number")
            return
        num_samples = int(recording.get_num_samples())
        annotate_clock_doubts(recording, length_doubt("timestamps", len(timestamps), num_samples, path))
        clock = read() if path.is_dir() else remembered_clock(path, series, rate_hz, read)
        clock = replace(clock, nominal_is_stated=False)
        clock = clock.cut(0, num_samples).extended(num_samples)
        annotate_clocks(recording, [clock])
