"""Multi Channel Systems' HDF5 files, as Multi Channel DataManager exports them. A stream is an analogue stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from spikeinterface.core import BaseRecording  # noqa: TID253
from spikeinterface.extractors.mcsh5extractors import MCSH5RecordingExtractor  # noqa: TID253

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks
from sort_assets.recordings.formats.makers_clocks import clock_from_blocks
from sort_assets.recordings.formats.reading import (
    MIN_SORTABLE_RATE_HZ,
    choose_stream,
    clock_readable,
    open_hdf5,
    read_first_and_last_sample,
    readable,
)

_STREAMS = "Data/Recording_0/AnalogStream"
_TICKS_PER_S = 1e6


def mcs_streams(path: Path) -> dict[str, int]:
    """Streams of electrodes that are fast enough, and SpikeInterface's number of each."""
    found: dict[str, int] = {}
    with open_hdf5(path) as file, readable(path):
        for name, stream in file[_STREAMS].items():
            if "ChannelData" not in stream:
                continue
            label = stream.attrs.get("Label", b"")
            text = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
            rate_hz = _TICKS_PER_S / float(stream["InfoChannel"]["Tick"][0])
            if rate_hz >= MIN_SORTABLE_RATE_HZ and "digital" not in text.lower():
                found[name] = int(name.rpartition("_")[2])
    return found


def open_mcs(path: Path, stream: str | None) -> BaseRecording:
    """Open one stream of the file's only recording.

    Raises
    ------
    StreamError
        When the stream does not exist or must be named, or none is fast enough.
    UnreadableRecordingError
        When the file is damaged, or holds several recordings, of which the reader knows the first.
    """
    with readable(path):
        streams = mcs_streams(path)
        name = choose_stream(path, stream, tuple(streams))
        with open_hdf5(path) as file:
            recordings = [one for one in file["Data"] if one.startswith("Recording_")]
            if len(recordings) > 1:
                raise UnreadableRecordingError(
                    f"'{path}' holds {len(recordings)} recordings, of which SpikeInterface (up to 0.105.3) reads the "
                    "first.",
                    remedy="Export each recording to a file of its own in Multi Channel DataManager.",
                )
            group = file[f"{_STREAMS}/{name}"]
            info, rows = group["InfoChannel"][:], np.atleast_2d(group["ChannelDataTimeStamps"][:])
        recording = MCSH5RecordingExtractor(path, stream_id=streams[name])
        gains = _microvolts(info)
        recording.set_channel_gains(gains)
        # SpikeInterface (up to 0.105.3) multiplies the converter's zero by the exponent once more.
        recording.set_channel_offsets(-info["ADZero"].astype(float) * gains)
    read_first_and_last_sample(recording, path)
    rate_hz = float(_TICKS_PER_S / info["Tick"][0])
    with readable(path), clock_readable(path):
        clock = clock_from_blocks(rows[:, 0] / _TICKS_PER_S, rows[:, 2] - rows[:, 1] + 1, rate_hz)
        clock = clock.cut(0, recording.get_num_samples()).extended(recording.get_num_samples())
    recording.shift_times(clock.start_time_s)
    annotate_clocks(recording, [clock])
    return recording


def _microvolts(info: np.ndarray) -> np.ndarray:
    """Of one count; NaN for channels that are no voltages."""
    volts = info["ConversionFactor"].astype(float) * 10.0 ** info["Exponent"].astype(float)
    return np.where(info["Unit"] == b"V", 1e6 * volts, np.nan)
