"""Open Ephys sessions in the binary format. A stream is a folder of samples: "Neuropix-PXI-100.ProbeA-AP".

A recording is the folder of a session (it holds `Record Node 101`), of a record node, of an experiment or of one of the
recordings in it. The recordings of an experiment are segments. Where there are several record nodes or experiments,
they stand before the stream's folder: "node101/experiment2/Neuropix-PXI-100.ProbeA-AP".

SpikeInterface's reader (neo, up to 0.14.6) opens all streams of a session at once and requires that all record nodes
and all recordings have the same; it silently cuts off an incomplete last sample, compares no sizes, and treats the
accelerometer's channels (AUX) as electrodes. Here only the files of the stream are read, and probeinterface reads the
probe.

Layout: https://open-ephys.github.io/gui-docs/User-Manual/Recording-data/Binary-format.html.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import IncompatibleFilesError, UnreadableRecordingError
from sort_assets.recordings.clock import (
    Clock,
    annotate_clocks,
    clock_from_start,
)
from sort_assets.recordings.clock_doubts import annotate_clock_doubts, fewer_doubt
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.npy_file import map_npy
from sort_assets.recordings.formats.open_ephys_folders import (
    STRUCTURE,
    Place,
    may_be_open_ephys_folder,
    recording_places,
)
from sort_assets.recordings.formats.open_ephys_probe import order_converters, read_probe
from sort_assets.recordings.formats.reading import (
    COPY_AGAIN,
    MIN_SORTABLE_RATE_HZ,
    NOTHING_RECORDED,
    choose_stream,
    clock_readable,
    count_samples,
    natural_order,
    read_first_and_last_sample,
    readable,
    unique_names,
)
from sort_assets.recordings.formats.shared_clock import LAST_BUFFER, shared_clock
from sort_assets.recordings.formats.stated_numbers import stated_number, stated_rate
from sort_assets.recordings.pickle_guard import refuse_pickles
from sort_assets.recordings.probes import attach_neuropixels
from sort_assets.recordings.sample_numbers import clock_from_numbers
from sort_assets.recordings.timestamps import clock_from_timestamps

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_PUT_BACK = f"Put back the {STRUCTURE} that the GUI wrote, or correct the field in it: it was edited or damaged."
_SAMPLES = "continuous.dat"
# Where units are left out, electrodes are in microvolts and inputs of the converter in volts (see the layout).
_MICROVOLTS = ("uV", "")
_NO_ELECTRODE = re.compile(r"ADC|AUX|SYNC")
_NATIONAL_INSTRUMENTS = "NI-DAQmx"


@dataclass(frozen=True)
class _Segment:
    """One stream of one recording.

    Attributes
    ----------
    folder : Path
        Holds `continuous.dat`.
    rate_hz : float
    channels : tuple of (str, float)
        Name and microvolts per count of every channel in the file.
    electrodes : tuple of int
        Which of them are electrodes.
    settings : Path
        Description of the signal chain; it need not exist.
    """

    folder: Path
    rate_hz: float
    channels: tuple[tuple[str, float], ...]
    electrodes: tuple[int, ...]
    settings: Path

    @property
    def may_be_sorted(self) -> bool:
        """Whether there are electrodes, at a rate that resolves spikes."""
        return bool(self.electrodes) and self.rate_hz >= MIN_SORTABLE_RATE_HZ


def is_open_ephys(path: Path) -> bool:
    """Whether a path is a folder of Open Ephys' binary format, on any level from the session to one recording."""
    if not path.is_dir() or not may_be_open_ephys_folder(path.name, {entry.name for entry in path.iterdir()}):
        return False
    return any(True for _ in recording_places(path))


def open_ephys_streams(path: Path) -> tuple[str, ...]:
    """Names of the streams of electrodes at a rate that resolves spikes.

    Raises
    ------
    UnreadableRecordingError
        When the description of a recording is missing or damaged.
    """
    return tuple(_streams(path))


def open_open_ephys(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open one stream of one experiment.

    Returns
    -------
    BaseRecording
        int16 counts with a segment for each recording that is not empty; electrodes only, called as in the file. A
        Neuropixels probe is read from the settings; other probes are not in the files.

    Raises
    ------
    StreamError
        When the stream does not exist or must be named.
    UnreadableRecordingError
        When a file is missing, truncated or damaged, or holds a pickle.
    IncompatibleFilesError
        When recordings of the experiment differ in channels, rate or gains.
    MissingProbeError
        When the probe that the settings describe can't be read.
    ProbeGeometryError
        When the settings place another number of electrodes than there are.
    """
    streams = _streams(path)
    missing = Missing(config.accept_incomplete)
    broken = [name for name, found in streams.items() if not any(isinstance(one, _Segment) for one in found)]
    segments = _described(streams[choose_stream(path, stream, tuple(streams), broken)], missing)
    for segment in segments[1:]:
        if (segment.rate_hz, segment.channels) != (segments[0].rate_hz, segments[0].channels):
            raise IncompatibleFilesError(
                f"'{segment.folder}' can't be put behind '{segments[0].folder}': its channels, rate or gains differ.",
                remedy="Move the recordings that were made with other settings into a folder of their own.",
            )
    clocks = [_clock(segment, missing) for segment in segments]
    filled = [(segment, clock) for segment, clock in zip(segments, clocks, strict=True) if clock is not None]
    if not filled:
        raise UnreadableRecordingError(f"'{segments[0].folder}' holds no samples.", remedy=NOTHING_RECORDED)
    with readable(segments[0].folder):
        recording = _open([segment for segment, _ in filled], [clock for _, (clock, _) in filled])
    annotate_clock_doubts(
        recording, [f"{_name(segment)}: {doubt}" for segment, (_, doubts) in filled for doubt in doubts]
    )
    names = [segments[0].channels[index][0] for index in segments[0].electrodes]
    probe = read_probe(segments[0].settings, segments[0].folder, names, config)
    if probe is not None:
        attach_neuropixels(recording, probe)
        order_converters(recording)
    read_first_and_last_sample(recording, path)
    missing.annotate(recording)
    return recording


def _described(segments: Sequence[_Segment | UnreadableRecordingError], missing: Missing) -> list[_Segment]:
    """The segments of recordings with a description; the others are noted as missing."""
    described = [one for one in segments if not isinstance(one, UnreadableRecordingError)]
    errors = [one for one in segments if isinstance(one, UnreadableRecordingError)]
    if not described:
        raise errors[0]
    for error in errors:
        missing.note(error.message)
    return described


def _streams(path: Path) -> dict[str, list[_Segment | UnreadableRecordingError]]:
    """Stream name to its segments in the order in which they were recorded.

    In place of those of a recording without a description stands why there is none: in all streams of its experiment,
    or in one called after the experiment where nothing of it is described.

    Raises
    ------
    UnreadableRecordingError
        When the description of the only experiment is missing or damaged.
    """
    places = list(recording_places(path))
    several_nodes = len({place.node for place in places}) > 1
    several_experiments = len({place.experiment for place in places}) > 1
    streams: dict[str, list[_Segment | UnreadableRecordingError]] = {}
    undescribed: dict[str, list[UnreadableRecordingError]] = {}
    for place in places:
        prefix = f"{place.node}/" if several_nodes else ""
        prefix += f"experiment{place.experiment}/" if several_experiments else ""
        try:
            segments = _segments(place)
        except UnreadableRecordingError as error:
            undescribed.setdefault(prefix, []).append(error)
            continue
        for name, segment in segments:
            if isinstance(segment, UnreadableRecordingError) or segment.may_be_sorted:
                streams.setdefault(f"{prefix}{name}", []).append(segment)
    for prefix, errors in undescribed.items():
        same_experiment = [name for name in streams if name.rpartition("/")[0] == prefix.rstrip("/")]
        if not same_experiment and not prefix:
            raise errors[0]
        for name in same_experiment or [prefix.rstrip("/")]:
            streams.setdefault(name, []).extend(errors)
    return {name: streams[name] for name in sorted(streams, key=natural_order)}


def _segments(place: Place) -> list[tuple[str, _Segment | UnreadableRecordingError]]:
    """The continuous streams of a recording with their names, as its description lists them.

    In place of one that is not described in full stands why.
    """
    structure = place.folder / STRUCTURE
    if not structure.is_file():
        raise UnreadableRecordingError(
            f"'{place.folder}' lacks {STRUCTURE}, which says what its channels are.", remedy=COPY_AGAIN
        )
    with readable(structure):
        content = json.loads(structure.read_text(encoding="utf-8-sig"))
        described = content.get("continuous") if isinstance(content, dict) else None
        if not isinstance(described, list) or not all(isinstance(stream, dict) for stream in described):
            raise UnreadableRecordingError(
                f"'{structure}' does not describe streams of samples: it has no list 'continuous' of them.",
                remedy=_PUT_BACK,
            )
        names = [_folder_name(place, stream) for stream in described]
    segments: list[_Segment | UnreadableRecordingError] = []
    for name, stream in zip(names, described, strict=True):
        try:
            with readable(structure):
                segments.append(_segment(place, name, stream))
        except UnreadableRecordingError as error:
            segments.append(error)
    return list(zip(names, segments, strict=True))


def _folder_name(place: Place, described: Mapping[str, Any]) -> str:
    name = str(described.get("folder_name", "")).strip("/")
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise UnreadableRecordingError(
            f"'{place.folder / STRUCTURE}' names a folder outside its recording, or none: '{name}'.",
            remedy=_PUT_BACK,
        )
    return name


def _segment(place: Place, name: str, described: Mapping[str, Any]) -> _Segment:
    structure, channels = place.folder / STRUCTURE, described.get("channels")
    if not isinstance(channels, list) or not all(
        isinstance(channel, dict) and "channel_name" in channel for channel in channels
    ):
        raise UnreadableRecordingError(
            f"'{structure}' does not list the channels of {name} by their names.", remedy=_PUT_BACK
        )
    num_channels = described.get("num_channels")
    if isinstance(num_channels, int | float) and num_channels != len(channels):
        raise UnreadableRecordingError(
            f"'{structure}' states {num_channels!r} channels of {name} (num_channels), and lists {len(channels)}.",
            remedy=_PUT_BACK,
        )
    electrodes = (
        index
        for index, channel in enumerate(channels)
        if channel.get("units", "") in _MICROVOLTS
        and not _NO_ELECTRODE.search(str(channel["channel_name"]))
        and not name.startswith(_NATIONAL_INSTRUMENTS)
    )
    return _Segment(
        folder=place.folder / "continuous" / name,
        rate_hz=stated_rate(described.get("sample_rate"), f"sample_rate of {name}", structure),
        channels=tuple((str(channel["channel_name"]), _microvolts(channel, structure)) for channel in channels),
        electrodes=tuple(electrodes),
        settings=place.settings,
    )


def _microvolts(channel: Mapping[str, Any], structure: Path) -> float:
    """What a count of a channel is; NaN where nonsense is stated, which is told unless somebody states another."""
    try:
        return stated_number(channel.get("bit_volts"), "bit_volts", structure, remedy=_PUT_BACK, positive=True)
    except UnreadableRecordingError:
        return math.nan


def _clock(segment: _Segment, missing: Missing) -> tuple[Clock, list[str]] | None:
    """Check the sizes; the clock of the samples and what is doubtful about it, None when there is no sample.

    Since version 0.6 of the GUI the numbers have a file of their own, and timestamps.npy holds seconds on the clock
    that all streams share, or -1 where a stream is not synchronized.
    """
    samples = segment.folder / _SAMPLES
    if not samples.is_file():
        missing.note(f"'{samples}' is missing.")
        return None
    num_samples = count_samples(samples, len(segment.channels), missing=missing)
    refuse_pickles(segment.folder)
    numbers, timestamps = (map_npy(segment.folder / name, missing) for name in ("sample_numbers.npy", "timestamps.npy"))
    if timestamps is not None and timestamps.dtype.kind != "f":  # of a version before 0.6
        numbers, timestamps = timestamps, None
    stated = timestamps if numbers is None else numbers
    if stated is None:
        missing.note(f"'{segment.folder}' lacks sample_numbers.npy.")
        stated = np.zeros(0, "int64")
    elif not num_samples - LAST_BUFFER <= len(stated) <= num_samples or (num_samples and not len(stated)):
        missing.note(
            f"'{samples}' has {num_samples} samples, and the files beside it number {len(stated)}: one of them is "
            "incomplete."
        )
    if num_samples == 0:
        return None
    doubts: list[str] = []
    with clock_readable(segment.folder):
        if len(stated) == 0:
            clock = clock_from_start(num_samples, segment.rate_hz)
        elif numbers is None or timestamps is None:
            read = clock_from_timestamps if numbers is None else clock_from_numbers
            clock = read(stated[:num_samples], segment.rate_hz)
        else:
            clock, doubts = shared_clock(numbers[:num_samples], timestamps[:num_samples], segment.rate_hz)
    lacking = num_samples - len(stated)
    if lacking > 0 and any(jump.samples > 0 for jump in clock.jumps):  # not at the end, perhaps
        doubts = [*doubts, fewer_doubt("numbers", lacking, samples)]
    return clock.extended(num_samples), doubts


def _name(segment: _Segment) -> str:
    """Of a segment's folder within the session, for people."""
    return "/".join(segment.folder.parts[-4:])


def _open(segments: Sequence[_Segment], clocks: Sequence[Clock]) -> BaseRecording:
    from spikeinterface.core import BinaryRecordingExtractor

    first = segments[0]
    names = unique_names([name for name, _ in first.channels])
    recording = BinaryRecordingExtractor(
        file_paths=[segment.folder / _SAMPLES for segment in segments],
        sampling_frequency=first.rate_hz,
        num_channels=len(names),
        dtype="int16",
        t_starts=[clock.start_time_s for clock in clocks],
        channel_ids=names,
    ).select_channels([names[index] for index in first.electrodes])
    recording.set_channel_gains([first.channels[index][1] for index in first.electrodes])
    recording.set_channel_offsets(0.0)
    annotate_clocks(recording, clocks)
    return recording
