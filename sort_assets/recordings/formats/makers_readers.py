"""Opening the formats of makers through SpikeInterface's readers, which stand on neo's.

What neo does in silence is undone or said here: gains that it does not know, samples that do not follow each other, and
files that are cut off.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording  # noqa: TID253
from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict  # noqa: TID253
from spikeinterface.extractors.neoextractors.mearec import MEArecRecordingExtractor  # noqa: TID253

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingPluginError, MissingProbeError, SortAssetsError, UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.makers import READERS, Reader
from sort_assets.recordings.formats.makers_clocks import segment_clocks
from sort_assets.recordings.formats.makers_repaired import McsRawRecording, OpenEphysLegacyRecording, TdtRecording
from sort_assets.recordings.formats.makers_sizes import note_what_is_cut_off
from sort_assets.recordings.formats.mcs_hdf5 import mcs_streams, open_mcs
from sort_assets.recordings.formats.reading import (
    COPY_AGAIN,
    MIN_SORTABLE_RATE_HZ,
    NOTHING_RECORDED,
    choose_stream,
    clock_readable,
    natural_order,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.formats.stated_numbers import stated_rate

_CLASSES = {
    "openephyslegacy": OpenEphysLegacyRecording,
    "mcsraw": McsRawRecording,
    "tdt": TdtRecording,
    "mearec": MEArecRecordingExtractor,
}
"""Classes of readers whose entry in the list is a function, or is repaired."""
_MICROVOLTS = {"v": 1e6, "volt": 1e6, "volts": 1e6, "mv": 1e3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "nv": 1e-3}
"""In small letters. SpikeInterface (up to 0.105.3) takes any unit that it does not know for microvolts."""
_MOST_SPIKE2_BYTES = 2**31
"""neo counts the bytes of .smr in numbers of 32 bits, and goes on below zero where they end."""
_IN_SMALL_LETTERS = {
    "blackrock": (".ns1", ".ns2", ".ns3", ".ns4", ".ns5", ".ns6"),
    "tdt": (".tsq", ".tev"),
    "openephyslegacy": (".continuous",),
    "alphaomega": (".mpx",),
    "neuronexus": (".xdat",),
}
_DOTS_MISREAD = ("axona", "neuronexus", "tdt")
_CUT_OFF = (
    "not a multiple of the data-type size",
    "mmap length is greater than file size",
    "buffer size must be a multiple of element size",
    "(Filesize)",
)
"""What numpy, neo and pyEDFlib say of files that end too early."""


def makers_streams(name: str, path: Path) -> tuple[str, ...]:
    """The streams of electrodes that are fast enough, by neo's names.

    Raises
    ------
    MissingPluginError
        When the reader needs a package that is not installed.
    UnreadableRecordingError
        When the file can't be read.
    """
    with readable(path):
        return tuple(mcs_streams(path) if name == "mcsh5" else neo_streams(READERS[name], path))


def neo_streams(reader: Reader, path: Path) -> dict[str, str]:
    """Names of the streams of electrodes at a sortable rate, and neo's ids of them."""
    _check_readable(reader, path)
    with _readable(path):
        return _sortable(_neo_reader(reader, path), reader)


def open_makers(name: str, path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open one stream.

    Returns
    -------
    BaseRecording
        With a segment for each stretch that the maker's file has on its own, each with its clock. Channels that are
        no voltages are left out where others are. Gains are NaN where the file states none.

    Raises
    ------
    StreamError
        When the stream does not exist or must be named, or none is fast enough.
    MissingPluginError
        When the reader needs a package that is not installed.
    UnreadableRecordingError
        When the file can't be read, is cut off, or would be read wrong.
    """
    return open_mcs(path, stream) if name == "mcsh5" else open_with_neo(name, READERS[name], path, stream, config)


def open_with_neo(name: str, reader: Reader, path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open one stream with a reader of SpikeInterface that stands on neo's; see `open_makers`.

    Parameters
    ----------
    name : str
        Of the format whose clock and sizes are looked at; any other for none.
    reader : Reader
    path : Path
    stream : str or None
    config : RecordingConfig
    """
    _check_readable(reader, path)
    missing = Missing(config.accept_incomplete)
    with _readable(path):
        neo_reader = _neo_reader(reader, path)
        streams = _sortable(neo_reader, reader)
        stream_id = streams[choose_stream(path, stream, tuple(streams))]
        recording = _extract(reader, path, stream_id, neo_reader)
        if recording.get_num_segments() == 0:
            raise UnreadableRecordingError(f"'{path}' holds no samples.", remedy=NOTHING_RECORDED)
        if name == "axona":
            _refuse_gaps_between_tetrodes(recording, path)
        if name == "biocam":
            _check_wells(recording.neo_reader._filehandle, path, config)
        note_what_is_cut_off(name, recording.neo_reader, path, missing)
        stated_rate(float(recording.sampling_frequency), "its sampling rate", path)
    read_first_and_last_sample(recording, path)
    with readable(path), clock_readable(path):
        clocks = segment_clocks(name, recording)
    recording = _in_microvolts(_in_natural_order(recording, name), reader)
    if clocks is not None:
        for index, clock in enumerate(clocks):
            recording.shift_times(clock.start_time_s - recording.get_start_time(index), segment_index=index)
        annotate_clocks(recording, clocks)
    missing.annotate(recording)
    return recording


def extractor_of(reader: Reader) -> Any:
    """SpikeInterface's class of a reader."""
    return _CLASSES.get(reader.extractor) or recording_extractor_full_dict[reader.extractor]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What neo raises is told; what it and SpikeInterface warn of is decided here, all of it."""
    with readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, OSError) as error:
            if "do not have unique ids" in str(error):
                raise UnreadableRecordingError(
                    f"'{path}' holds files of the same channel twice: of two processors (100_CH1 and 104_CH1), or of "
                    "recordings that were begun one after the other (CSC1 and CSC1_0001).",
                    remedy="Move the files of each into a folder of its own; each folder is then a recording.",
                ) from error
            if isinstance(error, SortAssetsError) or not any(words in str(error) for words in _CUT_OFF):
                raise
            raise UnreadableRecordingError(
                f"'{path}' is truncated: it, or a file of it, ends before the samples that it states ({error}).",
                remedy=COPY_AGAIN,
            ) from error


def _check_readable(reader: Reader, path: Path) -> None:
    if reader.extractor == "spike2" and path.stat().st_size >= _MOST_SPIKE2_BYTES:
        raise UnreadableRecordingError(
            f"'{path}' has {path.stat().st_size / 1e9:.1f} GB, and neo (up to 0.14.6) reads other samples than those "
            "that are meant in .smr files of more than 2.1 GB.",
            remedy="Export stretches of it to files of less than 2.1 GB in Spike2, or write its samples to a plain "
            "binary file and describe it in recording.binary.",
        )
    suffixes = _IN_SMALL_LETTERS.get(reader.extractor, ())
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.suffix.lower() in suffixes and file.suffix not in suffixes:
            raise UnreadableRecordingError(
                f"The name of '{file}' ends in capital letters, and neo (up to 0.14.6) takes such files for others.",
                remedy=f"Rename the recording's files, so that they end in {file.suffix.lower()} and the like.",
            )
    if reader.extractor in _DOTS_MISREAD:
        given = as_given(reader, path)
        if "." in given.name.removesuffix(".json").rpartition(".")[0]:
            raise UnreadableRecordingError(
                f"The name of '{given}' has a dot in its middle, of which neo (up to 0.14.6) drops what follows: it "
                "would read the files of another recording.",
                remedy="Rename the recording's files, all in the same way, without the dot.",
            )
    if not reader.package or find_spec(reader.package) is not None:
        return
    pip_name = reader.pip_name or reader.package
    remedy = f"Install it where sort_assets runs (pip install {pip_name}), and restart sort_assets."
    if reader.extractor == "plexon2":
        remedy = (
            "The reader runs Plexon's PL2FileReader.dll, which neo downloads: on Linux through the package zugbruecke "
            "and Wine. Save the recording as .plx or NWB in Plexon's Offline Sorter instead, or install both."
        )
    raise MissingPluginError(f"'{path}' is read with the package {pip_name}, which is not installed.", remedy=remedy)


def as_given(reader: Reader, path: Path) -> Path:
    """The path as SpikeInterface's reader wants it: some take one file of a folder, or another one beside it."""
    if reader.extractor == "tdt":
        # The single block; a folder would be taken for a tank of blocks.
        indices = sorted(file for file in path.iterdir() if file.suffix.lower() == ".tsq")
        if len(indices) > 1:
            raise UnreadableRecordingError(
                f"'{path}' holds the files of {len(indices)} blocks: {', '.join(file.name for file in indices)}.",
                remedy="Move the files of each block into a folder of its own.",
            )
        return indices[0]
    if reader.extractor == "neuronexus" and path.name.endswith("_data.xdat"):
        return path.with_name(f"{path.name[: -len('_data.xdat')]}.xdat.json")
    return path


def _neo_reader(reader: Reader, path: Path) -> Any:
    """neo's reader, with the header read."""
    extractor, given = extractor_of(reader), as_given(reader, path)
    arguments: dict[str, Any] = {"filename": str(given)}
    if hasattr(extractor, "map_to_neo_kwargs"):
        taken = signature(extractor.map_to_neo_kwargs).parameters
        arguments = extractor.map_to_neo_kwargs(
            given, **{name: value for name, value in reader.arguments.items() if name in taken}
        )
    if reader.extractor == "blackrock":
        arguments |= {"load_nev": False, "nsx_to_load": int(given.suffix[-1])}
    try:
        return extractor.get_neo_io_reader(extractor.NeoRawIOClass, **arguments)
    except (IndexError, OSError) as error:
        # neo compares the records of a stream's channels, and asks for some that a shorter one does not have.
        if reader.extractor != "neuralynx" or ("sections" not in str(error) and isinstance(error, OSError)):
            raise
        raise UnreadableRecordingError(
            f"The .ncs files of '{path}' do not hold the same stretches of time ({error}).",
            remedy="Copy them again, and compare the sizes. If some were recorded at other times, or end earlier, move "
            "them into a folder of their own.",
        ) from error


def _sortable(neo_reader: Any, reader: Reader) -> dict[str, str]:
    """Stream names, and neo's ids of them, of electrodes at a sortable rate."""
    channels, streams = neo_reader.header["signal_channels"], neo_reader.header["signal_streams"]
    found: dict[str, str] = {}
    present = set(streams["id"].tolist())
    for name, stream_id in zip(streams["name"].tolist(), streams["id"].tolist(), strict=True):
        of_stream = channels[channels["stream_id"] == stream_id]
        fast = len(of_stream) > 0 and of_stream["sampling_rate"].max() >= MIN_SORTABLE_RATE_HZ
        if not fast or stream_id in reader.left_out or reader.copies.get(stream_id) in present:
            continue
        unique = name if name and name not in found else f"{name} {stream_id}".strip()
        found[unique.replace("@", " ")] = stream_id
    by_voltage = {
        name: bool(_are_voltages(channels[channels["stream_id"] == stream_id]["units"]).any())
        for name, stream_id in found.items()
    }
    # Voltages go before what is none; where nothing is said to be one, nothing is known.
    return {name: found[name] for name, is_one in by_voltage.items() if is_one or not any(by_voltage.values())}


def _extract(reader: Reader, path: Path, stream_id: str, neo_reader: Any) -> BaseRecording:
    extractor, given = extractor_of(reader), as_given(reader, path)
    taken = signature(extractor.__init__).parameters
    arguments: dict[str, Any] = dict(reader.arguments)
    arguments |= {"stream_id": stream_id} if "stream_id" in taken else {}
    # Names may be the same twice, or no text that can be shown.
    arguments |= {"use_names_as_ids": False} if "use_names_as_ids" in taken else {}
    arguments["folder_path" if "folder_path" in taken else "file_path"] = given
    recording = extractor.__new__(extractor)
    recording.neo_reader = neo_reader  # SpikeInterface would read the header again
    recording.__init__(**arguments)
    return recording


def _are_voltages(units: np.ndarray) -> np.ndarray:
    return np.array([_scale_of(unit) is not None for unit in units])


def _scale_of(unit: object) -> float | None:
    """Microvolts in one unit, or None."""
    return _MICROVOLTS.get(str(unit).strip().lower())


def _in_microvolts(recording: BaseRecording, reader: Reader) -> BaseRecording:
    """The recording with the gains that the file states, without channels that are no voltages beside others."""
    units = recording.get_property("physical_unit")
    scales = np.array([_scale_of(unit) or np.nan for unit in units])
    gains = recording.get_property("gain_to_physical_unit").astype(float)
    offsets = recording.get_property("offset_to_physical_unit").astype(float)
    if reader.gains == "inverted":
        gains = np.divide(1.0, gains, out=np.full_like(gains, np.nan), where=gains != 0)
    if reader.gains == "none":
        scales = np.full_like(scales, np.nan)
    recording.set_channel_gains(gains * scales)
    recording.set_channel_offsets(offsets * np.nan_to_num(scales))
    known = ~np.isnan(scales)
    return recording.select_channels(recording.channel_ids[known]) if known.any() and not known.all() else recording


def _in_natural_order(recording: BaseRecording, name: str) -> BaseRecording:
    """Channels in the order of their numbers: neo (up to 0.14.6) has CSC10 before CSC2."""
    if name not in ("neuralynx", "alphaomega"):
        return recording
    names = [str(one) for one in recording.get_property("channel_name")]
    order = sorted(range(len(names)), key=lambda index: natural_order(names[index]))
    return recording if order == [*range(len(names))] else recording.select_channels(recording.channel_ids[order])


def _refuse_gaps_between_tetrodes(recording: BaseRecording, path: Path) -> None:
    active = [int(one) for one in recording.neo_reader.get_active_tetrode()]
    if active != list(range(1, len(active) + 1)):
        raise UnreadableRecordingError(
            f"'{path}' was recorded with the tetrodes {', '.join(map(str, active))} only: neo (up to 0.14.6) gives "
            "their channels the samples of others.",
            remedy="Convert it with Axona's own programs, or to NWB with pyxona, and register that.",
        )


def _check_wells(file: Any, path: Path, config: RecordingConfig) -> None:
    """Of files of BrainWave 5 neo reads the first well, and probeinterface takes any electrodes for a whole square."""
    wells = sorted(name for name in file if name.startswith("Well_"))
    if len(wells) > 1:
        raise UnreadableRecordingError(
            f"'{path}' holds {len(wells)} wells ({', '.join(wells)}), of which neo (up to 0.14.6) reads the first.",
            remedy="Write the samples of each well to a plain binary file, and describe it in recording.binary.",
        )
    stored = [file[well]["StoredChIdxs"][:] for well in wells if "StoredChIdxs" in file[well]]
    if config.probe_file is None and any(not np.array_equal(one, np.arange(len(one))) for one in stored):
        raise MissingProbeError(
            f"'{path}' holds a part of the chip's electrodes, of which probeinterface (up to 0.4.2) does not know "
            "where they are.",
            remedy="Set recording.probe_file to a probeinterface JSON file with their positions, in the order of "
            "StoredChIdxs.",
        )
