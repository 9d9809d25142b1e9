"""The check of a recording that was just opened: what SpikeInterface and sorters take for granted, and assert later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import RecordingError, StreamError, UnreadableRecordingError
from sort_assets.recordings.clock import recording_clocks
from sort_assets.recordings.formats.reading import MIN_SORTABLE_RATE_HZ, NOT_UNDERSTOOD
from sort_assets.recordings.formats.stated_numbers import stated_rate
from sort_assets.recordings.probes import DEPTH_LEFT_OUT, planar_probes

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_LARGEST_COUNT_UV = 500.0
"""A converter of 16 bits over +-10 V has 305 microvolts for a count, before any amplifier."""
_SMALLEST_RANGE_UV = 100.0
"""From the lowest to the highest count."""


_COARSEST = 0.5
"""Samples between times that a number of 64 bits can hold."""
_NUMBERS = "iuf"
"""Kinds of numpy's types that hold samples: whole numbers, unsigned ones, floating-point numbers."""


def check_opened(recording: BaseRecording, path: Path, config: RecordingConfig) -> None:
    """Check ids, rate and gains, and lay a probe in space into a plane, unless a probe file stands for it.

    Parameters
    ----------
    recording : BaseRecording
        As a format opened it; its probe may be replaced.
    path : Path
        Where it came from, for the message.
    config : RecordingConfig
        Its `gain_to_uv`, `offset_to_uv` and `probe_file` stand for what the recording says.

    Raises
    ------
    UnreadableRecordingError
        When there is no channel, two have the same id, samples are no real numbers, or rate or times can't be.
    StreamError
        When the rate is too low for spikes.
    RecordingError
        When a gain or offset is no finite number, or a gain can't be one of a recording of spikes.
    MissingProbeError
        When electrodes in space coincide in every plane.
    """
    ids, counts = np.unique(np.asarray(recording.channel_ids).astype(str), return_counts=True)
    rate_hz = float(recording.sampling_frequency)
    if len(ids) == 0:
        raise UnreadableRecordingError(f"'{path}' holds no channels.", remedy=NOT_UNDERSTOOD)
    if counts.max() > 1:
        raise UnreadableRecordingError(
            f"'{path}' has several channels of the same name: {', '.join(ids[counts > 1][:10])}.",
            remedy="Save the recording again with a name of its own for each channel.",
        )
    if recording.dtype.kind not in _NUMBERS:
        raise UnreadableRecordingError(
            f"The samples of '{path}' are of the type {recording.dtype}, which is none of voltages.",
            remedy="Save the recording again with samples that are whole or floating-point numbers.",
        )
    stated_rate(rate_hz, "its sampling rate", path)
    if rate_hz < MIN_SORTABLE_RATE_HZ:
        raise StreamError(
            f"'{path}' has {rate_hz:g} samples per second, too few for spikes: it holds local field potentials, or the "
            "rate is wrong.",
            remedy="Sort the recording of the wide-band signal. If the rate is wrong, correct it in the file or, of a "
            "plain binary file, in recording.binary.",
        )
    _check_times(recording, path)
    _check_gains(recording, path, config)
    if config.probe_file is None and recording.has_probe():
        planar, depth_left_out = planar_probes(recording.get_probegroup())
        if depth_left_out or planar is not recording.get_probegroup():
            groups = recording.get_property("group")
            recording.set_probegroup(planar, check_overlap=False)
            if groups is not None:
                recording.set_property("group", groups)
            recording.annotate(**{DEPTH_LEFT_OUT: depth_left_out})


def _check_times(recording: BaseRecording, path: Path) -> None:
    """Check that numbers of 64 bits can tell the time of one sample from the next."""
    for clock in recording_clocks(recording):
        latest_s = max(abs(clock.pieces[0].start_time_s), abs(clock.pieces[-1].end_time_s))
        if not np.isfinite(latest_s) or np.spacing(latest_s) * clock.nominal_hz > _COARSEST:
            raise UnreadableRecordingError(
                f"'{path}' states times up to {latest_s:.6g} s, where samples can't be told apart by their times.",
                remedy="Correct the start or the timestamps in the file: they are in seconds.",
            )


def _check_gains(recording: BaseRecording, path: Path, config: RecordingConfig) -> None:
    """Check the gains and offsets that nobody replaces: they are finite, and a spike is more than one count."""
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    usable = np.ones(recording.get_num_channels(), dtype=bool)
    if gains is not None and config.gain_to_uv is None:
        usable &= np.isfinite(gains) & (np.asarray(gains) != 0)
    if offsets is not None and config.offset_to_uv is None:
        usable &= np.isfinite(offsets)
    if not usable.all():
        named = ", ".join(str(channel) for channel in recording.channel_ids[~usable][:10])
        raise RecordingError(
            f"'{path}' states no usable gain or offset for {np.count_nonzero(~usable)} of {len(usable)} channels: "
            f"{named}.",
            remedy="Set recording.gain_to_uv to the microvolts of one count, and recording.offset_to_uv.",
        )
    if gains is None or config.gain_to_uv is not None or recording.dtype.kind not in "iu":
        return
    counts_uv = np.abs(np.asarray(gains, dtype=float))
    range_uv = counts_uv * 2.0 ** (8 * recording.dtype.itemsize)
    if offsets is not None and config.offset_to_uv is None and (np.abs(offsets) > range_uv).any():
        first = int(np.flatnonzero(np.abs(offsets) > range_uv)[0])
        raise RecordingError(
            f"'{path}' states an offset of {offsets[first]:.8g} microvolts on channel "
            f"'{recording.channel_ids[first]}', and all its counts span {range_uv[first]:.8g}.",
            remedy="Set recording.offset_to_uv to the microvolts of the count 0, usually 0, or correct the offset in "
            "the file (NWB: offset is in volts).",
        )
    if np.allclose(counts_uv, 1.0, rtol=1e-9, atol=0):
        raise RecordingError(
            f"'{path}' does not say how many microvolts one count is: all its channels have a gain of exactly 1, which "
            "stands for samples that nobody scaled.",
            remedy="Set recording.gain_to_uv to the microvolts of one count; to 1 if that is what a count is.",
        )
    too_coarse = counts_uv > _LARGEST_COUNT_UV
    too_fine = range_uv < _SMALLEST_RANGE_UV
    for is_so, so in ((too_coarse, "no spike is as large"), (too_fine, "no spike fits into the range of its counts")):
        if is_so.any():
            first = int(np.flatnonzero(is_so)[0])
            raise RecordingError(
                f"'{path}' states {counts_uv[first]:.8g} microvolts for one count on {np.count_nonzero(is_so)} of "
                f"{len(is_so)} channels, such as '{recording.channel_ids[first]}': {so}.",
                remedy="Set recording.gain_to_uv to the microvolts of one count, or correct the gain in the file (NWB: "
                "conversion is in volts).",
            )
