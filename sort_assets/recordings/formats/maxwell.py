"""Maxwell `.h5` files (MaxOne, MaxTwo). A stream is a well, or "well/recording" where there are several recordings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from probeinterface import Probe
from spikeinterface.core import BaseRecording  # noqa: TID253

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingPluginError, MissingProbeError, UnreadableRecordingError
from sort_assets.recordings.clock import Clock, annotate_clocks
from sort_assets.recordings.clock_doubts import annotate_clock_doubts, length_doubt
from sort_assets.recordings.formats.compression_filters import register_filters
from sort_assets.recordings.formats.hdf5_rows import Hdf5RowsSegment
from sort_assets.recordings.formats.hdf5_values import quick_values
from sort_assets.recordings.formats.reading import (
    NOT_UNDERSTOOD,
    choose_stream,
    clock_readable,
    open_hdf5,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.formats.remembered_clocks import remembered_clock
from sort_assets.recordings.formats.stated_numbers import stated_number, stated_rate
from sort_assets.recordings.sample_numbers import clock_from_numbers

COUNTS_AT_ZERO = 512
"""Count at 0 V: the middle of the range of the chips' 10-bit converters."""
ELECTRODE_SIZE_UM = {"width": 5.45, "height": 9.3}
"""Size of the chips' electrodes, as in `probeinterface.read_maxwell`."""
PLUGIN_VARIABLE = "HDF5_PLUGIN_PATH"
"""Environment variable of HDF5: the folders in which it looks for plugins."""

FRAME_NUMBERS = "groups/routed/frame_nos"
"""Number of each sample (uint64) in a recording of a well. Frames that were lost, or not wanted between triggers, are
left out."""

_OLD_LAYOUT_STREAM = "well000"
_OLD_LAYOUT_RATE_HZ = 20000.0
_LIBRARIES = ("libcompression*.so", "libcompression*.dylib", "compression*.dll")
# 3.3 V over 10 bits, at the amplification that MaxLab Live sets unless told otherwise; as neo has it.
_FULL_SCALE_V = 3.3
_COUNTS = 1024
_USUAL_AMPLIFICATION = 512.0
_SET_GAIN = "Set recording.gain_to_uv to the microvolts of one count, or correct the setting in the file."


def is_maxwell(path: Path) -> bool:
    """Whether a path is an HDF5 file with Maxwell's layout.

    Raises
    ------
    UnreadableRecordingError
        When an `.h5` file is empty, truncated or no HDF5 file.
    """
    if path.suffix.lower() != ".h5" or not path.is_file():
        return False
    with open_hdf5(path) as file:
        return "version" in file and ("wells" in file or ("mapping" in file and "sig" in file))


def maxwell_streams(path: Path) -> tuple[str, ...]:
    """Names of the wells that were recorded, with the recording's name when the file has several."""
    with open_hdf5(path) as file, readable(path):
        return tuple(_recorded(file))


def open_maxwell(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open one well.

    Returns
    -------
    BaseRecording
        Unsigned counts; the offset is set so that the middle of the converter's range is 0 microvolts. Time is that of
        the first frame's number, where frames are numbered: they count from when the chip was started. Its annotation
        `doubled_channels`, where there are any, maps channels to the electrodes that were routed to them; they stand at
        the place of the first.

    Raises
    ------
    StreamError
        When the well does not exist or must be named.
    UnreadableRecordingError
        When the file is damaged, or its map of electrodes does not fit its samples.
    MissingProbeError
        When electrodes share a position, so that no probe can be made of them.
    MissingPluginError
        When its samples are compressed, and the plugin that reads them is not installed.
    """
    with open_hdf5(path) as file, readable(path):
        recorded = _recorded(file)
        well_name, rec_name = recorded[choose_stream(path, stream, tuple(recorded))]
        well = read_well(file, well_name, rec_name)
        if config.gain_to_uv is None:
            _stated_gain_uv(file if rec_name is None else file[f"wells/{well_name}/{rec_name}"])
        _check_samples(path, file[well.samples_path])
    with readable(path):
        try:
            recording = MaxwellRecording(path, well_name, rec_name, with_probe=config.probe_file is None)
        except ValueError as error:
            if "must be unique" not in str(error):
                raise
            raise MissingProbeError(
                f"'{path}' places several electrodes at the same point: {error}",
                remedy="Set recording.probe_file to a probeinterface JSON file with their positions.",
            ) from error
    read_first_and_last_sample(recording, path)
    if rec_name is not None:
        _follow_frame_numbers(recording, path, f"wells/{well_name}/{rec_name}/{FRAME_NUMBERS}")
    return recording


class MaxwellRecording(BaseRecording):  # type: ignore[misc]
    """One well of a Maxwell file, read directly from the HDF5 dataset.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process. In place of
    neo's reader, which (up to 0.14.6, the newest when this was written) refuses maps that name a channel twice, assumes
    that the rows of the samples are the rows of the map, and downloads a plugin unless told not to at each loading.

    Parameters
    ----------
    file_path : str or Path
        The `.h5` file.
    stream_id : str
        The well.
    rec_name : str or None
        The recording in the file; None in the layout of the first MaxOne.
    with_probe : bool
        Whether the electrodes are placed on a probe, as the file says.
    """

    def __init__(
        self, file_path: str | Path, stream_id: str, rec_name: str | None = None, with_probe: bool = True
    ) -> None:
        register_filters()
        file_path = Path(file_path).absolute()
        with h5py.File(file_path, "r") as file:
            well = read_well(file, stream_id, rec_name)
            dtype = file[well.samples_path].dtype
        BaseRecording.__init__(self, well.sampling_hz, [str(channel) for channel in well.channels], dtype)
        self.stream_id = stream_id
        self.add_recording_segment(Hdf5RowsSegment(file_path, well.samples_path, well.sampling_hz, well.rows))
        self.set_channel_gains(well.gain_to_uv)
        # Where the signal is 0, so that no offset is left wherever nothing filters it away.
        self.set_channel_offsets(-COUNTS_AT_ZERO * well.gain_to_uv)
        if with_probe:
            self.set_probe(_probe(well))
        self.set_property("electrode", well.electrodes)
        names = zip(well.channels, well.electrodes, strict=True)
        self.set_property("channel_name", np.array([f"ch{channel} elec{electrode}" for channel, electrode in names]))
        if well.doubled:
            self.annotate(doubled_channels=well.doubled)
        self.extra_requirements.append("h5py")
        self._kwargs = {
            "file_path": str(file_path),
            "stream_id": stream_id,
            "rec_name": rec_name,
            "with_probe": with_probe,
        }


def _follow_frame_numbers(recording: BaseRecording, path: Path, name: str) -> None:
    rate_hz, num_samples = float(recording.sampling_frequency), int(recording.get_num_samples())

    def read() -> Clock:
        with quick_values(file[name]) as numbers:
            return clock_from_numbers(numbers, rate_hz)

    with open_hdf5(path) as file, readable(path), clock_readable(path):
        if name not in file or not len(file[name]):
            return
        clock = remembered_clock(path, name, rate_hz, read)
    annotate_clock_doubts(recording, length_doubt("frame numbers", clock.num_samples, num_samples, path))
    clock = clock.cut(0, num_samples).extended(num_samples)
    recording.shift_times(clock.start_time_s)
    annotate_clocks(recording, [clock])


@dataclass(frozen=True)
class Well:
    """What a file says of one well.

    Attributes
    ----------
    samples_path : str
        Of the dataset with the samples, of shape (rows, samples).
    rows : np.ndarray
        Row of each channel in the dataset.
    channels, electrodes : np.ndarray
        Numbers of the amplifiers, each once, and of the electrodes that were routed to them.
    positions_um : np.ndarray
        Of the electrodes on the chip, shape (channels, 2).
    sampling_hz : float
    gain_to_uv : float
    doubled : dict of str to list of int
        Channels to which several electrodes were routed, with these; the first one counts.
    """

    samples_path: str
    rows: np.ndarray
    channels: np.ndarray
    electrodes: np.ndarray
    positions_um: np.ndarray
    sampling_hz: float
    gain_to_uv: float
    doubled: dict[str, list[int]]


def read_well(file: h5py.File, well_name: str, rec_name: str | None) -> Well:
    """Read the map of electrodes and the settings of a well.

    Parameters
    ----------
    file : h5py.File
    well_name : str
    rec_name : str or None
        None in the layout of the first MaxOne.

    Raises
    ------
    UnreadableRecordingError
        When the map of electrodes does not fit the samples.
    """
    channels_of_rows: np.ndarray | None = None
    if rec_name is None:
        place, mapping, samples_path = file, _map(file, "mapping"), "sig"
        sampling_hz = _OLD_LAYOUT_RATE_HZ
        if mapping["channel"].max() < file["sig"].shape[0]:
            # All amplifiers of the chip, and a few rows with other signals.
            channels_of_rows = np.arange(file["sig"].shape[0])
    else:
        place = file[f"wells/{well_name}/{rec_name}"]
        mapping, samples_path = _map(place, "settings/mapping"), f"{place.name}/groups/routed/raw"
        sampling_hz = stated_rate(
            _setting(place, "sampling"), f"sampling of {well_name}/{rec_name}", Path(file.filename)
        )
        # The map may name channels that were not recorded, such as those of stimulation, or the same one twice; neo
        # (up to 0.14.6) then can't open the file (NeuralEnsemble/python-neo#1702).
        if "channels" in place["groups/routed"]:
            channels_of_rows = place["groups/routed/channels"][:]
    num_rows = file[samples_path].shape[0]
    mapping = mapping[mapping["channel"] >= 0]
    channels, first = np.unique(mapping["channel"], return_index=True)
    if channels_of_rows is None:
        # One row for each line of the map, or for each channel.
        channels_of_rows = mapping["channel"] if num_rows == len(mapping) else mapping["channel"][np.sort(first)]
    if len(channels_of_rows) != num_rows or not np.isin(channels_of_rows, channels).any():
        raise UnreadableRecordingError(
            f"The map of electrodes of '{file.filename}' names {len(channels)} channels, which do not fit the "
            f"{num_rows} rows of samples in {samples_path}.",
            remedy="The file contradicts itself, which no copy changes where the original does so too: record again "
            "with MaxLab Live's present version, or save it again there, and please report this message.",
        )
    rows = np.sort(np.unique(channels_of_rows, return_index=True)[1])
    rows = rows[np.isin(channels_of_rows[rows], channels)]
    lines = mapping[first[np.searchsorted(channels, channels_of_rows[rows])]]
    doubled = {
        str(channel): mapping["electrode"][mapping["channel"] == channel].tolist()
        for channel in lines["channel"]
        if np.count_nonzero(mapping["channel"] == channel) > 1
    }
    return Well(
        samples_path=samples_path,
        rows=rows,
        channels=lines["channel"],
        electrodes=lines["electrode"],
        positions_um=np.column_stack([lines["x"], lines["y"]]).astype(float),
        sampling_hz=sampling_hz,
        gain_to_uv=_gain_to_uv(place),
        doubled=doubled,
    )


def _probe(well: Well) -> Probe:
    probe = Probe(ndim=2, si_units="um", manufacturer="Maxwell Biosystems")
    probe.set_contacts(positions=well.positions_um, shapes="rect", shape_params=ELECTRODE_SIZE_UM)
    probe.annotate_contacts(electrode=well.electrodes)
    probe.set_device_channel_indices(np.arange(len(well.channels)))
    return probe


def _gain_to_uv(place: h5py.Group) -> float:
    """Microvolts per count; 1 where the file states nonsense, so that somebody's gain also scales the offset."""
    try:
        return _stated_gain_uv(place)
    except UnreadableRecordingError:
        return 1.0


def _stated_gain_uv(place: h5py.Group) -> float:
    path = Path(place.file.filename)
    lsb_v, amplification = (_setting(place, name) for name in ("lsb", "gain"))
    if lsb_v is not None:
        return 1e6 * stated_number(lsb_v, f"lsb of {place.name}", path, remedy=_SET_GAIN, positive=True)
    if amplification is None:
        amplification = _USUAL_AMPLIFICATION
    gain = stated_number(amplification, f"gain of {place.name}", path, remedy=_SET_GAIN, positive=True)
    return _FULL_SCALE_V / (_COUNTS * gain) * 1e6


def _setting(place: h5py.Group, name: str) -> Any:
    """A setting as it is stored: an array of one number; None where there is none."""
    stored = place.get(f"settings/{name}")
    return stored[()] if isinstance(stored, h5py.Dataset) else None


def _map(place: h5py.Group, name: str) -> np.ndarray:
    """The map of electrodes."""
    mapping: np.ndarray = place[name][()]
    lacking = [column for column in ("channel", "electrode", "x", "y") if column not in (mapping.dtype.names or ())]
    if lacking or mapping.ndim != 1:
        raise UnreadableRecordingError(
            f"The map of electrodes of '{place.file.filename}' ({name}) lacks {', '.join(lacking) or 'rows'}.",
            remedy=NOT_UNDERSTOOD,
        )
    return mapping


def _recorded(file: h5py.File) -> dict[str, tuple[str, str | None]]:
    """Stream name to well and name of the recording."""
    if "wells" not in file:
        return {_OLD_LAYOUT_STREAM: (_OLD_LAYOUT_STREAM, None)}
    found = [
        (well_name, rec_name)
        for well_name, well in file["wells"].items()
        for rec_name, recorded in well.items()
        # Wells whose electrodes were not routed to amplifiers hold spikes at most.
        if "groups/routed/raw" in recorded
    ]
    several = len({rec_name for _, rec_name in found}) > 1
    return {f"{well_name}/{rec_name}" if several else well_name: (well_name, rec_name) for well_name, rec_name in found}


def _check_samples(path: Path, samples: h5py.Dataset) -> None:
    """Read one sample of all channels, and tell a missing plugin from damage."""
    _search_plugin_folder()
    try:
        samples[:, :1]
    except OSError as error:
        plist = samples.id.get_create_plist()
        filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
        if all(h5py.h5z.filter_avail(number) for number in filters):
            raise
        raise MissingPluginError(
            f"The samples of '{path}' are compressed by Maxwell's own HDF5 filter, and its plugin is not installed: "
            f"{_what_is_wrong_with_the_plugin()}.",
            remedy="Download libcompression.so from MaxWell Biosystems "
            f"(https://share.mxwbio.com/d/7f2d1e98a1724a1b8b35) and set {PLUGIN_VARIABLE} to the folder that holds it.",
        ) from error


def _search_plugin_folder() -> None:
    """Let HDF5 search the folder that the environment names now: it reads the variable only once, when it starts."""
    folders = [folder for folder in os.environ.get(PLUGIN_VARIABLE, "").split(os.pathsep) if folder]
    searched = {h5py.h5pl.get(index) for index in range(h5py.h5pl.size())}
    for folder in reversed(folders):
        if os.fsencode(folder) not in searched:
            h5py.h5pl.prepend(os.fsencode(folder))


def _what_is_wrong_with_the_plugin() -> str:
    folders = [folder for folder in os.environ.get(PLUGIN_VARIABLE, "").split(os.pathsep) if folder]
    if not folders:
        return f"{PLUGIN_VARIABLE} is not set"
    there = [folder for folder in folders if Path(folder).is_dir()]
    if not there:
        return f"{PLUGIN_VARIABLE} names '{folders[0]}', which is no folder"
    libraries = [library for folder in there for pattern in _LIBRARIES for library in Path(folder).glob(pattern)]
    if not libraries:
        return f"{PLUGIN_VARIABLE} names '{there[0]}', and there is no libcompression.so in it"
    return f"'{libraries[0]}' is there and can't be loaded: it is damaged, or made for another system"
