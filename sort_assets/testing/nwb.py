"""Writing recordings into NWB files, for the demo, the conformance kit, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hdmf.data_utils import GenericDataChunkIterator
    from pynwb import NWBFile
    from pynwb.device import Device
    from spikeinterface.core import BaseRecording

_CHUNK_SAMPLES = 30000


def write_nwb(
    recording: BaseRecording | Mapping[str, BaseRecording],
    path: Path,
    *,
    starting_time_s: float = 0.0,
    timestamps: bool = False,
    locations: bool = True,
    compression: str | None = None,
) -> Path:
    """Write an NWB file with pynwb, a chunk at a time.

    Parameters
    ----------
    recording : BaseRecording or mapping of str to BaseRecording
        With gains; one electrical series, named "ElectricalSeries", or one for each name. A series below 5 kHz is
        stored as local field potential, as NWB asks.
    path : Path
        The file to write.
    starting_time_s : float
        Time of the first sample.
    timestamps : bool
        Store the time of each sample instead of a rate.
    locations : bool
        Store where the electrodes are (`rel_x`, `rel_y`, in micrometres).
    compression : str or None
        HDF5 compression of the samples, "gzip" for example.

    Returns
    -------
    Path
        `path`.
    """
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, H5DataIO, NWBFile
    from pynwb.ecephys import LFP, ElectricalSeries

    series_recordings = recording if isinstance(recording, Mapping) else {"ElectricalSeries": recording}
    nwbfile = NWBFile(
        session_description="synthetic recording",
        identifier=path.stem,
        session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
    )
    device = nwbfile.create_device(name="probe")
    nwbfile.add_electrode_column(name="channel_name", description="name of the channel")
    first_row = 0
    for name, series_recording in series_recordings.items():
        _add_electrodes(nwbfile, device, series_recording, prefix=name, locations=locations)
        rows = range(first_row, first_row + series_recording.get_num_channels())
        first_row = rows.stop
        gains_v = series_recording.get_channel_gains() * 1e-6
        rate = float(series_recording.sampling_frequency)
        times = starting_time_s + np.arange(series_recording.get_num_samples()) / rate
        series = ElectricalSeries(
            name=name,
            data=H5DataIO(_chunk_iterator(series_recording), compression=compression),
            electrodes=nwbfile.create_electrode_table_region(list(rows), "electrodes of this series"),
            conversion=float(gains_v[0]),
            channel_conversion=None if np.all(gains_v == gains_v[0]) else (gains_v / gains_v[0]).tolist(),
            offset=float(series_recording.get_channel_offsets()[0]) * 1e-6,
            **({"timestamps": times} if timestamps else {"rate": rate, "starting_time": float(starting_time_s)}),
        )
        if rate < 5000:
            module = nwbfile.processing.get("ecephys") or nwbfile.create_processing_module("ecephys", "filtered data")
            lfp = LFP(name=f"LFP_{name}")
            module.add(lfp)
            lfp.add_electrical_series(series)
        else:
            nwbfile.add_acquisition(series)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwbfile)
    return path


def _add_electrodes(
    nwbfile: NWBFile, device: Device, recording: BaseRecording, *, prefix: str, locations: bool
) -> None:
    groups = recording.get_channel_groups().astype(str)
    electrode_groups = {
        name: nwbfile.create_electrode_group(
            name=f"{prefix}_{name}", description="shank", location="unknown", device=device
        )
        for name in np.unique(groups)
    }
    for index, channel_id in enumerate(recording.channel_ids):
        position = {}
        if locations:
            x, y = recording.get_channel_locations()[index, :2]
            position = {"rel_x": float(x), "rel_y": float(y)}
        group = electrode_groups[groups[index]]
        nwbfile.add_electrode(group=group, location="unknown", channel_name=str(channel_id), **position)


def _chunk_iterator(recording: BaseRecording) -> GenericDataChunkIterator:
    from hdmf.data_utils import GenericDataChunkIterator

    class RecordingChunkIterator(GenericDataChunkIterator):  # type: ignore[misc]
        """Hands the samples to pynwb a chunk at a time."""

        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            samples, channels = selection
            return np.asarray(recording.get_traces(start_frame=samples.start, end_frame=samples.stop)[:, channels])

        def _get_maxshape(self) -> tuple[int, int]:
            return recording.get_num_samples(), recording.get_num_channels()

        def _get_dtype(self) -> Any:
            return np.dtype(recording.get_dtype())

    shape = (min(_CHUNK_SAMPLES, recording.get_num_samples()), recording.get_num_channels())
    return RecordingChunkIterator(buffer_shape=shape, chunk_shape=shape)
