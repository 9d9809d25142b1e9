"""The SpikeInterface recording of a Maxwell well.

A module of its own because SpikeInterface finds the class by its name when it loads a recording in another process;
it is only imported where a recording is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from probeinterface import Probe
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253

from sort_assets.recordings.formats.maxwell import COUNTS_AT_ZERO, Well, read_well

ELECTRODE_SIZE_UM = {"width": 5.45, "height": 9.3}
"""Of the chips' electrodes, as `probeinterface.read_maxwell` gives it."""


class MaxwellRecording(BaseRecording):  # type: ignore[misc]
    """One well of a Maxwell file, read directly from the HDF5 dataset.

    Instead of neo's reader (0.14.6), which refuses maps that name a channel twice, takes the rows of the samples for
    the rows of the map, and downloads a plugin unless it is told not to each time that it is loaded.

    Parameters
    ----------
    file_path : str or Path
        The `.h5` file.
    stream_id : str
        The well.
    rec_name : str or None
        The recording in the file; None in the layout of the first MaxOne.
    """

    def __init__(self, file_path: str | Path, stream_id: str, rec_name: str | None = None) -> None:
        file_path = Path(file_path).absolute()
        with h5py.File(file_path, "r") as file:
            well = read_well(file, stream_id, rec_name)
            dtype = file[well.samples_path].dtype
        BaseRecording.__init__(self, well.sampling_hz, [str(channel) for channel in well.channels], dtype)
        self.stream_id = stream_id
        self.add_recording_segment(_MaxwellSegment(file_path, well))
        self.set_channel_gains(well.gain_to_uv)
        # Where the signal is 0, so that no offset is left wherever nothing filters it away.
        self.set_channel_offsets(-COUNTS_AT_ZERO * well.gain_to_uv)
        self.set_probe(_probe(well))
        self.set_property("electrode", well.electrodes)
        names = zip(well.channels, well.electrodes, strict=True)
        self.set_property("channel_name", np.array([f"ch{channel} elec{electrode}" for channel, electrode in names]))
        if well.doubled:
            self.annotate(doubled_channels=well.doubled)
        self.extra_requirements.append("h5py")
        self._kwargs = {"file_path": str(file_path), "stream_id": stream_id, "rec_name": rec_name}


class _MaxwellSegment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(self, file_path: Path, well: Well) -> None:
        BaseRecordingSegment.__init__(self, sampling_frequency=well.sampling_hz, t_start=None)
        self._file = h5py.File(file_path, "r")
        self._samples = self._file[well.samples_path]
        self._rows = well.rows

    def get_num_samples(self) -> int:
        return int(self._samples.shape[1])

    def get_traces(self, start_frame: int, end_frame: int, channel_indices: Any = None) -> np.ndarray:
        rows = self._rows if channel_indices is None else self._rows[channel_indices]
        if rows.size == 0:
            return np.empty((end_frame - start_frame, 0), self._samples.dtype)
        # One block that holds all rows, and the rows out of it: HDF5 is slow at reading scattered ones.
        first, last = int(rows.min()), int(rows.max())
        block: np.ndarray = self._samples[first : last + 1, start_frame:end_frame]
        wanted = rows - first
        return (block if np.array_equal(wanted, np.arange(len(block))) else block[wanted]).T


def _probe(well: Well) -> Probe:
    probe = Probe(ndim=2, si_units="um", manufacturer="Maxwell Biosystems")
    probe.set_contacts(positions=well.positions_um, shapes="rect", shape_params=ELECTRODE_SIZE_UM)
    probe.annotate_contacts(electrode=well.electrodes)
    probe.set_device_channel_indices(np.arange(len(well.channels)))
    return probe
