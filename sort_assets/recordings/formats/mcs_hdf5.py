"""Multi Channel Systems' HDF5 files, as Multi Channel DataManager exports them. A stream is an analogue stream.

In place of SpikeInterface's reader, which (up to 0.105.3) lists the time of every sample in memory, refuses files whose
first stretch begins late, and takes the order in which channels are described for that of the rows of samples.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from spikeinterface.core import BaseRecording  # noqa: TID253

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks
from sort_assets.recordings.formats.compression_filters import check_filters, register_filters
from sort_assets.recordings.formats.hdf5_rows import Hdf5RowsSegment
from sort_assets.recordings.formats.makers_clocks import clock_from_blocks
from sort_assets.recordings.formats.reading import (
    MIN_SORTABLE_RATE_HZ,
    choose_stream,
    clock_readable,
    open_hdf5,
    read_first_and_last_sample,
    readable,
    unique_names,
)
from sort_assets.recordings.formats.stated_numbers import stated_rate

_STREAMS = "Data/Recording_0/AnalogStream"
_TICKS_PER_S = 1e6


def mcs_streams(path: Path) -> tuple[str, ...]:
    """Streams of electrodes that are fast enough."""
    found: list[str] = []
    with open_hdf5(path) as file, readable(path):
        for name, stream in file[_STREAMS].items():
            if "ChannelData" not in stream:
                continue
            rate_hz = _TICKS_PER_S / float(stream["InfoChannel"]["Tick"][0])
            if rate_hz >= MIN_SORTABLE_RATE_HZ and "digital" not in _text(stream.attrs.get("Label", b"")).lower():
                found.append(name)
    return tuple(found)


def open_mcs(path: Path, stream: str | None) -> BaseRecording:
    """Open one stream of the file's only recording.

    Raises
    ------
    StreamError
        When the stream does not exist or must be named, or none is fast enough.
    UnreadableRecordingError
        When the file is damaged, or holds several recordings, of which the first would be read.
    """
    with readable(path):
        name = choose_stream(path, stream, mcs_streams(path))
        with open_hdf5(path) as file:
            recordings = [one for one in file["Data"] if one.startswith("Recording_")]
            if len(recordings) > 1:
                raise UnreadableRecordingError(
                    f"'{path}' holds {len(recordings)} recordings, of which only the first would be read.",
                    remedy="Export each recording to a file of its own in Multi Channel DataManager.",
                )
            group = file[f"{_STREAMS}/{name}"]
            check_filters(group["ChannelData"], path)
            stretches = np.atleast_2d(group["ChannelDataTimeStamps"][:])
        recording = McsHdf5Recording(path, name)
    read_first_and_last_sample(recording, path)
    rate_hz = stated_rate(float(recording.sampling_frequency), "Tick", path)
    with readable(path), clock_readable(path):
        clock = clock_from_blocks(stretches[:, 0] / _TICKS_PER_S, stretches[:, 2] - stretches[:, 1] + 1, rate_hz)
        clock = clock.cut(0, recording.get_num_samples()).extended(recording.get_num_samples())
    recording.shift_times(clock.start_time_s)
    annotate_clocks(recording, [clock])
    return recording


class McsHdf5Recording(BaseRecording):  # type: ignore[misc]
    """One analogue stream, read directly from the HDF5 data set.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process.

    Parameters
    ----------
    file_path : str or Path
        The `.h5` file.
    stream_id : str
        The name of the stream's group, such as "Stream_0".
    """

    def __init__(self, file_path: str | Path, stream_id: str) -> None:
        register_filters()
        file_path = Path(file_path).absolute()
        with h5py.File(file_path, "r") as file:
            group = file[f"{_STREAMS}/{stream_id}"]
            info, dtype = group["InfoChannel"][:], group["ChannelData"].dtype
        rate_hz = _TICKS_PER_S / float(info["Tick"][0])
        ids = unique_names([f"Ch{number}" for number in info["ChannelID"]])
        BaseRecording.__init__(self, rate_hz, ids, dtype)
        self.add_recording_segment(
            Hdf5RowsSegment(file_path, f"{_STREAMS}/{stream_id}/ChannelData", rate_hz, info["RowIndex"].astype(int))
        )
        gains = _microvolts(info)
        self.set_channel_gains(gains)
        self.set_channel_offsets(-info["ADZero"].astype(float) * gains)
        self.set_property("channel_name", np.array([_text(label) for label in info["Label"]]))
        self.extra_requirements.append("h5py")
        self._kwargs = {"file_path": str(file_path), "stream_id": stream_id}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _microvolts(info: np.ndarray) -> np.ndarray:
    """Of one count; NaN for channels that are no voltages."""
    volts = info["ConversionFactor"].astype(float) * 10.0 ** info["Exponent"].astype(float)
    return np.where([_text(unit) == "V" for unit in info["Unit"]], 1e6 * volts, np.nan)
