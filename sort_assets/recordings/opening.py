"""Opening a recording: one file, or a folder of files that are concatenated."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import ClockGapError, IncompatibleFilesError, UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks, join_clocks, recording_clock, recording_clocks
from sort_assets.recordings.clock_doubts import annotate_clock_doubts, annotate_order_doubts, clock_doubts
from sort_assets.recordings.completeness import annotate_missing, missing_parts
from sort_assets.recordings.files_in_time import SEGMENT, doubts_about_order, sessions
from sort_assets.recordings.formats.recording_format import RecordingFormat
from sort_assets.recordings.formats.table import find_format, folder_members, unknown_format
from sort_assets.recordings.opened_check import check_opened
from sort_assets.recordings.probe_files import place_on_probes, probe_file_of, read_probe_file

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

RATE_TOLERANCE = 1e-6
"""Relative difference of sampling rates that counts as rounding, for example in rates derived from timestamps."""


OVERLAPPING_SAMPLES = "overlapping_samples"
"""Annotation of a recording: how many samples were left out because their time was there before."""
_LEFT_OUT_AT = "overlapping_samples_at"
"""Annotation of a recording: before which sample how many of them were left out."""


@dataclass(frozen=True)
class Boundary:
    """One of the pieces that were concatenated.

    Attributes
    ----------
    name : str
        Name of the file, with "/segment_1" for the segments of a file that has several.
    start_sample, end_sample : int
        Half-open range in samples of the whole recording.
    start_time_s : float
        Time of the piece's first sample on the clock of its own file, in seconds.
    """

    name: str
    start_sample: int
    end_sample: int
    start_time_s: float


def open_recording(path: Path, stream: str | None = None, config: RecordingConfig | None = None) -> BaseRecording:
    """Open a recording as the file holds it: unscaled, unfiltered, lazy, with a single segment.

    Parameters
    ----------
    path : Path
        A file or folder of one of `FORMATS`, or a folder of such files, which are concatenated in natural order.
    stream : str or None
        The stream, where files have several; it takes precedence over that of `config`.
    config : RecordingConfig or None
        Its fields `format`, `binary`, `stream` and `probe_file` say how the files are opened; with a probe file, only
        the channels that are wired to one of its contacts are in the recording. None recognises the format.

    Returns
    -------
    BaseRecording
        Shape (samples, channels) when read; `boundaries` tells which samples come from where. Files rarely start
        at time 0: a recording from one piece keeps its start time, a concatenated one starts at 0.

    Raises
    ------
    MissingRecordingError
        When nothing is there.
    UnknownFormatError
        When it is no recording and holds none.
    UnreadableRecordingError
        When a file is empty, truncated, damaged, or needs a plugin that is missing.
    StreamError
        When the stream does not exist or must be named.
    MissingProbeError
        When electrodes are placed in a way that can't be, or the probe file is not there or says nothing of wiring.
    ProbeGeometryError
        When the probe file is wired to channels that the recording does not have.
    ClockGapError
        When samples are missing in the middle, and `config` refuses that.
    IncompatibleFilesError
        When files to concatenate differ in format, channels, sample type, gains or probe, or in their rates by a
        sample or more over the shorter file.
    ConfigError
        When the configuration does not describe how to open the files.
    """
    path = Path(path)
    config = config or RecordingConfig()
    stream = config.stream if stream is None else stream
    probe_file = probe_file_of(path, config.probe_file, stream)
    config = config.model_copy(update={"probe_file": None if probe_file is None else str(probe_file)})
    recording_format = find_format(path, config)
    if recording_format is not None:
        members = [(path, recording_format)]
    else:
        members = folder_members(path, config) if path.is_dir() else []
    if not members:
        raise unknown_format(path, config)
    _check_same_format(members)
    opened, left_out = _open_members(members, stream, config)
    paths, recordings = list(opened), list(opened.values())
    if probe_file is not None:
        probes = read_probe_file(probe_file)
        recordings = [place_on_probes(recording, probes, path) for recording in recordings]
    for other_path, other in zip(paths[1:], recordings[1:], strict=True):
        _check_compatible(paths[0], recordings[0], other_path, other)
        _check_rates(paths[0], recordings[0], other_path, other, config.max_rate_difference_ppm)
    joined = _join(paths, recordings)
    annotate_missing(joined, [*left_out, *missing_parts(joined)])
    recording = _without_overlaps(joined)
    annotate_order_doubts(recording, doubts_about_order(recording, recording_clock(recording), boundaries(recording)))
    if config.gaps == "refuse":
        _refuse_gaps(recording, path, config)
    return recording


def _open_members(
    members: Sequence[tuple[Path, RecordingFormat]], stream: str | None, config: RecordingConfig
) -> tuple[dict[Path, BaseRecording], list[str]]:
    """The recordings by path, and why others of several were left out, where the configuration accepts that."""
    opened: dict[Path, BaseRecording] = {}
    unreadable: list[UnreadableRecordingError] = []
    for path, recording_format in members:
        try:
            recording = recording_format.open(path, stream, config)
            check_opened(recording, path, config)
        except UnreadableRecordingError as error:
            if not config.accept_incomplete:
                raise
            unreadable.append(error)
        else:
            opened[path] = recording
    if not opened:
        raise unreadable[0]
    return opened, [f"Left out: {error.message}" for error in unreadable]


def boundaries(recording: BaseRecording) -> list[Boundary]:
    """The pieces of which a recording consists, in order.

    Parameters
    ----------
    recording : BaseRecording
        From `open_recording`, or anything made of it that kept the annotation `boundaries`.

    Returns
    -------
    list of Boundary
        A single piece called "recording" if the recording has no such annotation.
    """
    annotated = recording.get_annotation("boundaries")
    if annotated is None:
        return [Boundary("recording", 0, int(recording.get_num_samples()), float(recording.get_start_time()))]
    return [Boundary(**piece) for piece in annotated]


def annotate_boundaries(recording: BaseRecording, pieces: Sequence[Boundary]) -> None:
    """Annotate a recording with the pieces of which it consists, in a form that JSON can hold."""
    recording.annotate(boundaries=[asdict(piece) for piece in pieces])


def cut_boundaries(pieces: Sequence[Boundary], start_sample: int, end_sample: int, rate_hz: float) -> list[Boundary]:
    """What is left of the pieces when only a range of samples is kept.

    Parameters
    ----------
    pieces : sequence of Boundary
        In samples of the whole recording.
    start_sample, end_sample : int
        Half-open range that is kept.
    rate_hz : float
        Samples per second.

    Returns
    -------
    list of Boundary
        In samples of the part that is kept; pieces without a sample in it are left out.
    """
    kept = []
    for piece in pieces:
        start, end = max(piece.start_sample, start_sample), min(piece.end_sample, end_sample)
        if start < end:
            start_time_s = piece.start_time_s + (start - piece.start_sample) / rate_hz
            kept.append(Boundary(piece.name, start - start_sample, end - start_sample, start_time_s))
    return kept


def join_segments(recording: BaseRecording) -> BaseRecording:
    """The recording with a single segment: itself, or its segments concatenated."""
    return recording if recording.get_num_segments() == 1 else _join([Path("recording")], [recording])


def _join(paths: Sequence[Path], recordings: Sequence[BaseRecording]) -> BaseRecording:
    """Concatenate all segments of all recordings, and note where each came from."""
    from spikeinterface.core import concatenate_recordings

    pieces: list[Boundary] = []
    for path, recording in zip(paths, recordings, strict=True):
        num_segments = recording.get_num_segments()
        for segment_index in range(num_segments):
            start = pieces[-1].end_sample if pieces else 0
            pieces.append(
                Boundary(
                    name=path.name if num_segments == 1 else f"{path.name}{SEGMENT}{segment_index}",
                    start_sample=start,
                    end_sample=start + int(recording.get_num_samples(segment_index)),
                    start_time_s=float(recording.get_start_time(segment_index)),
                )
            )
    joined = recordings[0]
    doubts = [doubt for one in recordings for doubt in clock_doubts(one)]
    if len(pieces) > 1:
        rates_hz = [float(recording.sampling_frequency) for recording in recordings]
        difference_hz = max(rates_hz) - min(rates_hz)
        with warnings.catch_warnings():
            # Rates that differ are checked before, and each piece keeps its own.
            warnings.filterwarnings("ignore", message="Inconsistent sampling frequency")
            joined = concatenate_recordings(list(recordings), sampling_frequency_max_diff=difference_hz)
    annotate_boundaries(joined, pieces)
    annotate_clocks(joined, [join_clocks([clock for one in recordings for clock in recording_clocks(one)])])
    annotate_clock_doubts(joined, doubts[len(clock_doubts(joined)) :])
    annotate_missing(joined, (part for one in recordings for part in missing_parts(one)))
    return joined


def _without_overlaps(recording: BaseRecording) -> BaseRecording:
    """The recording with each moment of a file, or of a session in several files, once."""
    from spikeinterface.core import concatenate_recordings

    clock, pieces = recording_clock(recording), boundaries(recording)
    kept = [
        (first + start, first + end)
        for first, last in sessions(recording, clock, pieces)
        for start, end in clock.cut(first, last).without_overlaps(are_same=_has_files(pieces, first, last))
    ]
    if sum(end - start for start, end in kept) == clock.num_samples:
        return recording
    parts = [recording.frame_slice(start, end) for start, end in kept]
    whole = parts[0] if len(parts) == 1 else concatenate_recordings(parts)
    left: list[Boundary] = []
    for start, end in kept:
        offset = left[-1].end_sample if left else 0
        for piece in cut_boundaries(pieces, start, end, recording.sampling_frequency):
            placed = replace(piece, start_sample=piece.start_sample + offset, end_sample=piece.end_sample + offset)
            if left and left[-1].name == placed.name:
                left[-1] = replace(left[-1], end_sample=placed.end_sample)
            else:
                left.append(placed)
    annotate_boundaries(whole, left)
    annotate_clocks(whole, [join_clocks([clock.cut(start, end) for start, end in kept])])
    annotate_missing(whole, missing_parts(recording))
    left_out = list(_left_out(kept, clock.num_samples))
    whole.annotate(**{OVERLAPPING_SAMPLES: sum(count for _, count in left_out), _LEFT_OUT_AT: left_out})
    return whole


def _left_out(kept: Sequence[tuple[int, int]], num_samples: int) -> Iterator[tuple[int, int]]:
    """Before which of the kept samples others were left out, and how many."""
    place, end_before = 0, 0
    for start, end in [*kept, (num_samples, num_samples)]:
        if start > end_before:
            yield place, start - end_before
        place, end_before = place + end - start, end


def annotate_left_out_of(recording: BaseRecording, whole: BaseRecording, start_sample: int, end_sample: int) -> None:
    """Annotate a part of a recording with how many samples were left out of that part.

    What was left out where the part begins or ends counts only where the recording does so, too.
    """
    places = whole.get_annotation(_LEFT_OUT_AT)
    if places is None:
        return
    first, last = start_sample - (start_sample == 0), end_sample + (end_sample == whole.get_num_samples())
    inside = [(place - start_sample, count) for place, count in places if first < place < last]
    recording.annotate(**{OVERLAPPING_SAMPLES: sum(count for _, count in inside), _LEFT_OUT_AT: inside})


def _has_files(pieces: Sequence[Boundary], start_sample: int, end_sample: int) -> bool:
    """Whether a session has several files; `sessions` has compared what two of them hold of the same time."""
    return sum(start_sample <= piece.start_sample < end_sample for piece in pieces) > 1


def _refuse_gaps(recording: BaseRecording, path: Path, config: RecordingConfig) -> None:
    """Refuse gaps in the part that is to be sorted."""
    at_files = {piece.start_sample for piece in boundaries(recording)}
    clock, rate_hz = recording_clock(recording), recording.sampling_frequency
    start = round(config.start_s * rate_hz)
    end = clock.num_samples if config.end_s is None else round(config.end_s * rate_hz)
    if config.first_minutes is not None:
        end = min(end, start + round(config.first_minutes * 60 * rate_hz))
    jumps = [jump for jump in clock.jumps if jump.sample not in at_files and start < jump.sample < end]
    if jumps:
        raise ClockGapError(
            f"The clock of '{path}' jumps in {len(jumps)} {'places' if len(jumps) > 1 else 'place'}, first by "
            f"{jumps[0].samples} samples before sample {jumps[0].sample}.",
            remedy="Sort the parts one by one (recording.start_s, recording.end_s), or set recording.gaps to split: "
            "the samples are then sorted as they follow each other, with the times of the clock; or to zeros, which "
            "stand for the missing ones.",
            jumps=len(jumps),
        )


def _check_same_format(members: Sequence[tuple[Path, RecordingFormat]]) -> None:
    first_path, first_format = members[0]
    for path, recording_format in members[1:]:
        if recording_format.name != first_format.name:
            raise _incompatible(
                path, first_path, f"its format is {recording_format.name}, that of the other is {first_format.name}"
            )


def _check_compatible(first_path: Path, first: BaseRecording, path: Path, other: BaseRecording) -> None:
    differences = {
        "its channels are others": not np.array_equal(first.channel_ids, other.channel_ids),
        f"its sample type is {other.dtype}, that of the other is {first.dtype}": first.dtype != other.dtype,
        "its gains are others": not _same(first.get_channel_gains(), other.get_channel_gains()),
        "its offsets are others": not _same(first.get_channel_offsets(), other.get_channel_offsets()),
        "its channel locations are others": not _same(_locations(first), _locations(other)),
    }
    for difference, differs in differences.items():
        if differs:
            raise _incompatible(path, first_path, difference)


def _check_rates(
    first_path: Path, first: BaseRecording, path: Path, other: BaseRecording, allowed_ppm: float | None
) -> None:
    """Refuse rates that differ by a sample or more over the shorter file, or by more than somebody allows."""
    rate_hz, other_hz = float(first.sampling_frequency), float(other.sampling_frequency)
    difference = abs(other_hz / rate_hz - 1)
    samples = difference * min(first.get_total_samples(), other.get_total_samples())
    if samples < 1 or difference <= max(RATE_TOLERANCE, (allowed_ppm or 0) * 1e-6):
        return
    ppm = 1e6 * difference
    raise IncompatibleFilesError(
        f"'{path}' can't be concatenated with '{first_path}': its sampling rate is {_digits(other_hz)} Hz, that of the "
        f"other is {_digits(rate_hz)} Hz, which is a difference of {ppm:.6g} ppm, or {samples:.1f} samples over the "
        "shorter file.",
        remedy="Move files that were recorded at another rate out of the folder. If the rates are those of one clock, "
        f"measured twice, set recording.max_rate_difference_ppm to at least {math.ceil(ppm * 10) / 10:g}: every file "
        "then keeps its own clock.",
        rate_hz=other_hz,
        first_rate_hz=rate_hz,
    )


def _digits(rate_hz: float) -> str:
    """All digits that tell it from other rates."""
    return repr(rate_hz).removesuffix(".0")


def _incompatible(path: Path, first_path: Path, difference: str) -> IncompatibleFilesError:
    return IncompatibleFilesError(
        f"'{path}' can't be concatenated with '{first_path}': {difference}.",
        remedy="Keep only files of one session and one probe in the folder, and move the others out.",
    )


def _same(first: np.ndarray | None, other: np.ndarray | None) -> bool:
    if first is None or other is None:
        return first is other
    return first.shape == other.shape and bool(np.allclose(first, other))


def _locations(recording: BaseRecording) -> np.ndarray | None:
    return recording.get_channel_locations() if recording.has_probe() else None
