"""Checks of a recording before it is sorted: whether it can be sorted, and what may spoil the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.errors import (
    MissingProbeError,
    RecordingError,
    SilentRecordingError,
    TooFewChannelsError,
    TooShortRecordingError,
)
from sort_assets.recordings.completeness import missing_parts
from sort_assets.recordings.groups import split_recording
from sort_assets.recordings.inspection import SampledChannels, check_flat_files, sample_channels
from sort_assets.recordings.probes import DEPTH_LEFT_OUT, require_probe
from sort_assets.recordings.steps import FEWEST_FOR_REFERENCE, reference_of_few

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

    from sort_assets.config import RecordingConfig

FEW_BATCHES = 25
"""Number of batches below which Kilosort4, which takes every 25th for whitening and templates, uses the first alone
(`spikedetect.run`)."""
NOISE_RANGE_UV = (0.5, 200.0)
"""Median noise that an amplifier and tissue can make. An Intan amplifier alone makes 2.4 uV (RHD2000 data sheet), so
that less than 0.5 is a wrong unit, volts for example; 200 is more than most spikes are high."""
LARGEST_PEAK_UV = 6400.0
"""What 16 bits of 0.195 uV reach (RHD2000 data sheet), a wide range among amplifiers for spikes; the highest spikes
have about 1 mV."""
SATURATED_SHARE = 0.01
"""Share of samples at the end of a channel's range. Clipped spikes take up less: 0.3 ms at 20 Hz are 0.6 %."""
_CLOSEST_UM = 0.1
"""Extent of a probe per contact below which positions are in another unit; contacts are several micrometres wide."""
_FARTHEST_UM = 1e6
"""Extent above which they are: a metre."""
_NAMED = 10


def inspect_recording(
    recording: BaseRecording,
    *,
    raw: BaseRecording | None = None,
    split_by: str | None = None,
    batch_samples: int | None = None,
    minimum_channels: int = 1,
    needs_probe: bool = True,
    seed: int = 0,
) -> list[CheckResult]:
    """Check a recording that is going to be sorted; only some chunks of it are read.

    Parameters
    ----------
    recording : BaseRecording
        Single segment: what the sorter is to read.
    raw : BaseRecording or None
        The same before any filter, which hides where an amplifier was saturated, and makes one NaN into thousands.
        Only the channels that `recording` has are read.
    split_by : str or None
        The property by which channels are sorted each group on its own; probe and number of channels are those of
        each group.
    batch_samples : int or None
        How many samples the sorter reads at once; None for a sorter that does not learn from batches.
    minimum_channels : int
        How many channels the sorter needs.
    needs_probe : bool
        Whether it needs their locations.
    seed : int
        Decides which times of the recording are read.

    Returns
    -------
    list of CheckResult
        Errors carry a `TooShortRecordingError` or `SilentRecordingError` (there is nothing to sort), or another
        `RecordingError` (it can't be sorted as it is).

    Raises
    ------
    ConfigError
        When channels have no property `split_by`.
    """
    parts = split_recording(recording, split_by) if split_by else {"": recording}
    return [
        _duration(recording, batch_samples),
        *_files(recording),
        *(_layout(part, group, minimum_channels, needs_probe) for group, part in parts.items()),
        *_samples(recording, _with_channels_of(recording, raw), seed),
    ]


def inspect_reference(recording: BaseRecording, config: RecordingConfig) -> list[CheckResult]:
    """A warning where the steps of preprocessing take a common reference of so few channels that spikes go with it.

    Parameters
    ----------
    recording : BaseRecording
        With the channels of which the reference was taken: before it is split.
    config : RecordingConfig
        With the steps.
    """
    if not reference_of_few(recording, config):
        return []
    return [
        warning(
            "common reference",
            f"recording.preprocessing takes the median of fewer than {FEWEST_FOR_REFERENCE} channels from all of them, "
            "and with it spikes that most of them see",
            "Leave common_reference out of recording.preprocessing, unless each spike is seen by few of the channels.",
        )
    ]


def _duration(recording: BaseRecording, batch_samples: int | None) -> CheckResult:
    num_samples, rate_hz = int(recording.get_num_samples()), float(recording.sampling_frequency)
    duration = f"{num_samples / rate_hz:.3g} s"
    if batch_samples is None:
        return ok("duration", duration)
    batches = num_samples / batch_samples
    detail = f"{duration}, {batches:.3g} batches of {batch_samples / rate_hz:g} s"
    if num_samples <= batch_samples:
        return failed(
            "duration",
            TooShortRecordingError(
                f"The recording lasts {duration}, and the sorter learns from more than one batch of "
                f"{batch_samples / rate_hz:g} s.",
                remedy="Record for some minutes. There is no sorting of this recording to wait for.",
                num_samples=num_samples,
                batch_samples=batch_samples,
            ),
        )
    if batches < FEW_BATCHES:
        return warning(
            "duration",
            f"{detail}: of fewer than {FEW_BATCHES}, the sorter learns noise and templates from the first alone",
            "Record for minutes where you can, and see that the beginning is not an artefact (recording.start_s).",
        )
    return ok("duration", detail)


def _files(recording: BaseRecording) -> Iterator[CheckResult]:
    lacking = missing_parts(recording)
    if lacking:
        yield warning("file", " ".join(lacking), "What is there is sorted, and the result is marked degraded.")
        return
    try:
        files = check_flat_files(recording)
    except RecordingError as error:
        yield failed("file", error)
        return
    if files:
        total_gb = sum(file.num_bytes for file in files) / 1e9
        yield ok("file", f"{total_gb:.3g} GB, a whole number of samples of all channels")


def _layout(part: BaseRecording, group: str, minimum_channels: int, needs_probe: bool) -> CheckResult:
    subject = f"channels, group {group}" if group else "channels"
    number = part.get_num_channels()
    if number < minimum_channels:
        return failed(
            subject,
            TooFewChannelsError(
                f"{_beginning(group)} {number} channel{'' if number == 1 else 's'}; the sorter needs at least "
                f"{minimum_channels}.",
                remedy="Choose another sorter"
                + (", or set recording.split_by to null to sort all groups together." if group else "."),
                channels=number,
                channels_needed=minimum_channels,
            ),
        )
    if not needs_probe:
        return ok(subject, f"{number}; the sorter needs no locations")
    try:
        require_probe(part, f"group {group}" if group else "The recording")
    except MissingProbeError as error:
        return failed(subject, error)
    if part.get_annotation(DEPTH_LEFT_OUT):
        return warning(
            subject,
            f"{number}, in space and in no plane: one of their coordinates was left out",
            "Set recording.probe_file to a probeinterface JSON file with positions in a plane, across and along the "
            "probe.",
        )
    locations = part.get_channel_locations()
    extent_um = float(np.ptp(locations, axis=0).max())
    if number > 1 and not number * _CLOSEST_UM <= extent_um <= _FARTHEST_UM:
        return warning(
            subject,
            f"{number}, spread over {extent_um:.3g} micrometres, which is no probe",
            "Positions are in micrometres: correct them in the file, or set recording.probe_file.",
        )
    return ok(subject, f"{number}, each at a place of its own")


def _samples(recording: BaseRecording, raw: BaseRecording | None, seed: int) -> Iterator[CheckResult]:
    try:
        # First, because a filter spreads one NaN over all that it reads at once.
        unfiltered = None if raw is None else sample_channels(raw, seed=seed)
        filtered = sample_channels(recording, seed=seed)
    except RecordingError as error:
        yield failed("samples", error)
        return
    looked_at_s = filtered.num_samples / float(recording.sampling_frequency)
    yield ok("samples", f"{looked_at_s:.3g} s checked, all finite")
    yield _constant(filtered, unfiltered)
    yield _saturated(filtered if unfiltered is None else unfiltered)
    if filtered.changes.any():
        yield _noise(filtered)
        yield _peaks(filtered)


def _constant(filtered: SampledChannels, unfiltered: SampledChannels | None) -> CheckResult:
    changes = filtered.changes if unfiltered is None else filtered.changes & unfiltered.changes
    if changes.all():
        return ok("constant channels", "none")
    if not changes.any():
        return failed(
            "constant channels",
            SilentRecordingError(
                f"None of the {len(changes)} channels ever changes in the parts of the recording that were checked.",
                remedy="Check that the probe was connected and the amplifier was on. There is nothing to sort.",
                channels=len(changes),
            ),
        )
    return warning(
        "constant channels",
        f"{np.sum(~changes)} of {len(changes)} never change: {_listed(filtered.channel_ids[~changes])}",
        "Drop them: set recording.bad_channels to 'auto', or list them in recording.bad_channel_ids.",
    )


def _saturated(sampled: SampledChannels) -> CheckResult:
    saturated = sampled.at_extreme >= SATURATED_SHARE
    if not saturated.any():
        return ok("saturated channels", "none")
    return warning(
        "saturated channels",
        f"{saturated.sum()} of {len(saturated)} are at the end of their range for up to "
        f"{sampled.at_extreme.max():.0%} of the time: {_listed(sampled.channel_ids[saturated])}",
        "Look at the traces. Drop the channels (recording.bad_channel_ids) or the time (recording.start_s, end_s).",
    )


def _noise(sampled: SampledChannels) -> CheckResult:
    noise_uv = float(np.median(sampled.noise_uv[sampled.changes]))
    detail = f"median {noise_uv:.3g} microvolts"
    lowest, highest = NOISE_RANGE_UV
    if lowest <= noise_uv <= highest:
        return ok("noise", detail)
    return warning(
        "noise",
        f"{detail}; {lowest:g} to {highest:g} are plausible. at a wrong scale Kilosort silently finds no spikes",
        "Check the gain: set recording.gain_to_uv to the microvolts of one count, to 1e6 for samples in volts.",
    )


def _peaks(sampled: SampledChannels) -> CheckResult:
    peak_uv = float(sampled.peak_uv.max())
    detail = f"up to {peak_uv:.0f} microvolts"
    if peak_uv <= LARGEST_PEAK_UV:
        return ok("peaks", detail)
    high = sampled.channel_ids[sampled.peak_uv > LARGEST_PEAK_UV]
    return warning(
        "peaks",
        f"{detail}, more than {LARGEST_PEAK_UV:.0f} on {len(high)} of {len(sampled.channel_ids)}: {_listed(high)}",
        "Spikes are not that high: cut artefacts out with recording.start_s and recording.end_s, or correct the gain.",
    )


def _with_channels_of(recording: BaseRecording, raw: BaseRecording | None) -> BaseRecording | None:
    if raw is None:
        return None
    kept = [channel_id for channel_id in raw.channel_ids if channel_id in set(recording.channel_ids)]
    return raw.select_channels(kept) if kept else None


def _beginning(group: str) -> str:
    return f"Group {group} has" if group else "The recording has"


def _listed(channel_ids: np.ndarray) -> str:
    text = ", ".join(str(channel_id) for channel_id in channel_ids[:_NAMED])
    return text if len(channel_ids) <= _NAMED else f"{text}, and {len(channel_ids) - _NAMED} more"
