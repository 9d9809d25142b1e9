"""What filters see at joins: a straight line, so that a step between two pieces rings into no spike.

Where files or pieces of a recording meet, the signal jumps by the difference of their slow potentials, and a band-pass
filter makes a wave of it: with slow potentials of 100 microvolts, nine of ten joins had peaks above five standard
deviations of the noise, up to fifty. So a line is put in before the filters, and taken out again after them. Where gaps
are to be filled with zeros, the line is as long as the gap, and becomes zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor  # noqa: TID253

from sort_assets.errors import ClockGapError
from sort_assets.recordings.clock import ClockPiece, annotate_clocks, recording_clock
from sort_assets.recordings.opening import annotate_boundaries, boundaries

if TYPE_CHECKING:
    from sort_assets.config import RecordingConfig
    from sort_assets.recordings.clock import Clock

BRIDGE_S = 0.05
"""Length of a line that is taken out again: several times as long as filters of the spike band ring."""


@dataclass(frozen=True)
class Bridge:
    """A line between two pieces of a recording.

    Attributes
    ----------
    sample : int
        The first one after it, in samples of the recording without bridges.
    length : int
        In samples.
    filled : bool
        Whether zeros stay in its place.
    """

    sample: int
    length: int
    filled: bool


def plan_bridges(recording: BaseRecording, config: RecordingConfig) -> tuple[Bridge, ...]:
    """Where the recording needs a line: at all joins; with `recording.gaps: zeros`, as long as each gap.

    Parameters
    ----------
    recording : BaseRecording
        With its clock and boundaries.
    config : RecordingConfig
        Its `gaps` and `max_zeros_percent` are read.

    Raises
    ------
    ClockGapError
        When the gaps are longer than may be filled.
    """
    clock = recording_clock(recording)
    missing = _gaps(clock, {piece.start_sample for piece in boundaries(recording)}) if config.gaps == "zeros" else {}
    _refuse_too_many_zeros(clock, sum(missing.values()), config.max_zeros_percent)
    usual = round(BRIDGE_S * recording.sampling_frequency)
    return tuple(Bridge(join, missing.get(join, usual), filled=join in missing) for join in clock.joins)


def add_bridges(recording: BaseRecording, bridges: Sequence[Bridge]) -> BaseRecording:
    """The recording with lines at its joins; itself where there are none."""
    if not bridges:
        return recording
    return BridgedRecording(recording, [one.sample for one in bridges], [one.length for one in bridges])


def remove_bridges(recording: BaseRecording, bridges: Sequence[Bridge], num_samples: int) -> BaseRecording:
    """Take lines out again, or put zeros in their place.

    Parameters
    ----------
    recording : BaseRecording
        Made of what `add_bridges` returned, perhaps at another rate.
    bridges : sequence of Bridge
    num_samples : int
        Length of the recording before bridges were added.
    """
    if not bridges:
        return recording
    ratio = recording.get_num_samples() / (num_samples + sum(one.length for one in bridges))
    starts, ends, added = [], [], 0
    for one in bridges:
        starts.append(round((one.sample + added) * ratio))
        added += one.length
        ends.append(round((one.sample + added) * ratio))
    return UnbridgedRecording(recording, starts, ends, [one.filled for one in bridges])


def annotate_filled(recording: BaseRecording, source: BaseRecording, bridges: Sequence[Bridge]) -> None:
    """Give a recording the clock and the boundaries of the one it was made of, with the zeros that were put in."""
    filled = {one.sample: one.length for one in bridges if one.filled}
    annotate_clocks(recording, [_with_zeros(recording_clock(source), filled)])

    def moved(sample: int) -> int:
        return sample + sum(length for join, length in filled.items() if join < sample)

    annotate_boundaries(
        recording,
        [
            replace(piece, start_sample=moved(piece.start_sample), end_sample=moved(piece.end_sample))
            for piece in boundaries(source)
        ],
    )


def _gaps(clock: Clock, at_files: set[int]) -> dict[int, int]:
    """Missing samples by the sample before which they are; passing from one file to the next is no gap."""
    return {jump.sample: jump.samples for jump in clock.jumps if jump.samples > 0 and jump.sample not in at_files}


def _refuse_too_many_zeros(clock: Clock, zeros: int, allowed_percent: float) -> None:
    percent = 100 * zeros / (clock.num_samples + zeros)
    if percent > allowed_percent:
        raise ClockGapError(
            f"The gaps of the recording are {zeros} samples in all ({zeros / clock.nominal_hz:.3f} s), {percent:.2f} % "
            f"of it with zeros in their place; {allowed_percent:g} % may be zeros.",
            remedy="Set recording.gaps to split, which puts nothing in and keeps the times of the clock; or set "
            f"recording.max_zeros_percent to at least {np.ceil(percent * 100) / 100:g}: many zeros lower what sorters "
            "take for the noise.",
            zeros=zeros,
        )


def _with_zeros(clock: Clock, filled: dict[int, int]) -> Clock:
    pieces: list[ClockPiece] = []
    added = 0
    for piece in clock.pieces:
        length = filled.get(piece.start_sample, 0)
        if length:
            last = pieces[-1]
            rate_hz = length / (piece.start_time_s - last.end_time_s)
            end = last.end_sample + length
            pieces.append(ClockPiece(last.end_sample, end, last.end_time_s, rate_hz, filled=True))
            added += length
        pieces.append(replace(piece, start_sample=piece.start_sample + added, end_sample=piece.end_sample + added))
    return replace(clock, pieces=tuple(pieces))


class BridgedRecording(BasePreprocessor):  # type: ignore[misc]
    """A recording with further samples, on a line from the sample before them to the one after.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process.

    Parameters
    ----------
    recording : BaseRecording
        Of one segment.
    samples : sequence of int
        Ascending, none of them 0: each line stands before one of these.
    lengths : sequence of int
        Of the lines, in samples.
    """

    def __init__(self, recording: BaseRecording, samples: Sequence[int], lengths: Sequence[int]) -> None:
        super().__init__(recording)
        (segment,) = recording.segments
        self.add_recording_segment(
            _BridgedSegment(segment, recording.sampling_frequency, np.asarray(samples), np.asarray(lengths))
        )
        self._kwargs = {"recording": recording, "samples": list(samples), "lengths": list(lengths)}


class UnbridgedRecording(BasePreprocessor):  # type: ignore[misc]
    """A recording without some ranges of samples, or with zeros in them.

    At the module's top level, as `BridgedRecording`.

    Parameters
    ----------
    recording : BaseRecording
        Of one segment.
    starts, ends : sequence of int
        Half-open ranges, ascending.
    zeros : sequence of bool
        Whether a range stays, with zeros in it.
    """

    def __init__(
        self, recording: BaseRecording, starts: Sequence[int], ends: Sequence[int], zeros: Sequence[bool]
    ) -> None:
        super().__init__(recording)
        (segment,) = recording.segments
        self.add_recording_segment(
            _UnbridgedSegment(
                segment,
                recording.sampling_frequency,
                np.asarray(starts),
                np.asarray(ends),
                np.asarray(zeros, dtype=bool),
            )
        )
        self._kwargs = {"recording": recording, "starts": list(starts), "ends": list(ends), "zeros": list(zeros)}


class _BridgedSegment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(self, parent: BaseRecordingSegment, rate_hz: float, samples: np.ndarray, lengths: np.ndarray) -> None:
        super().__init__(sampling_frequency=rate_hz, t_start=parent.get_start_time())
        self._parent, self._samples, self._lengths = parent, samples, lengths
        self._ends = samples + np.cumsum(lengths)
        self._starts = self._ends - lengths

    def get_num_samples(self) -> int:
        return int(self._parent.get_num_samples() + self._lengths.sum())

    def get_traces(self, start_frame: int | None, end_frame: int | None, channel_indices: Any) -> np.ndarray:
        start, end = start_frame or 0, self.get_num_samples() if end_frame is None else end_frame
        first, last = np.searchsorted(self._ends, start, side="right"), np.searchsorted(self._starts, end, side="left")
        source_start, source_end = self._source(start), self._source(end)
        if first >= last:
            return np.asarray(self._parent.get_traces(source_start, source_end, channel_indices))
        # The lines at the ends need the samples that they connect.
        before, after = max(0, source_start - 1), min(self._parent.get_num_samples(), source_end + 1)
        source = self._parent.get_traces(before, after, channel_indices)
        traces = np.empty((end - start, source.shape[1]), dtype=source.dtype)
        done, at = start, source_start
        for index in range(first, last):
            own, left, right = int(self._samples[index]), int(self._starts[index]), int(self._ends[index])
            if left > done:
                traces[done - start : left - start] = source[at - before : own - before]
                done, at = left, own
            stop = min(right, end)
            part = np.arange(done - left + 1, stop - left + 1)[:, None] / (right - left + 1)
            low, high = (source[sample - before].astype("float64") for sample in (own - 1, own))
            traces[done - start : stop - start] = low + part * (high - low)
            done, at = stop, own
        traces[done - start :] = source[at - before : source_end - before]
        return traces

    def _source(self, position: int) -> int:
        """How many of the parent's samples come before a position."""
        passed = int(np.searchsorted(self._ends, position, side="right"))
        inside = 0
        if passed < len(self._starts):
            inside = max(0, position - int(self._starts[passed]))
        return int(position - self._lengths[:passed].sum() - inside)


class _UnbridgedSegment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(
        self, parent: BaseRecordingSegment, rate_hz: float, starts: np.ndarray, ends: np.ndarray, zeros: np.ndarray
    ) -> None:
        super().__init__(sampling_frequency=rate_hz, t_start=parent.get_start_time())
        self._parent, self._starts, self._ends, self._zeros = parent, starts, ends, zeros
        gone = ends[~zeros] - starts[~zeros]
        self._gone = np.cumsum(gone)
        # In samples of this recording: where something was taken out.
        self._cuts = starts[~zeros] - (self._gone - gone)

    def get_num_samples(self) -> int:
        return int(self._parent.get_num_samples() - (self._gone[-1] if len(self._gone) else 0))

    def get_traces(self, start_frame: int | None, end_frame: int | None, channel_indices: Any) -> np.ndarray:
        start, end = start_frame or 0, self.get_num_samples() if end_frame is None else end_frame
        source_start, source_end = (
            self._source(start),
            self._source(end - 1) + 1 if end > start else self._source(start),
        )
        traces = np.asarray(self._parent.get_traces(source_start, source_end, channel_indices))
        kept = np.ones(len(traces), dtype=bool)
        inside = (self._ends > source_start) & (self._starts < source_end)
        if not inside.any():
            return traces
        traces = traces.copy()
        for left, right, zeros in zip(self._starts[inside], self._ends[inside], self._zeros[inside], strict=True):
            place = slice(max(0, left - source_start), right - source_start)
            if zeros:
                traces[place] = 0
            else:
                kept[place] = False
        return traces if kept.all() else traces[kept]

    def _source(self, sample: int) -> int:
        """The parent's sample that one of this recording is."""
        passed = int(np.searchsorted(self._cuts, sample, side="right"))
        return int(sample + (self._gone[passed - 1] if passed else 0))
