"""The check of a recording's clock: whether each sample follows the one before, at the rate that the file states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sort_assets.checks.result import CheckResult
from sort_assets.recordings.clock import Clock, recording_clock
from sort_assets.recordings.clock_doubts import clock_doubts
from sort_assets.recordings.opening import OVERLAPPING_SAMPLES, boundaries

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

MAX_PPM = 500.0
"""Oscillators of acquisition systems are within 100 parts per million; more is another rate than the one stated."""
MAX_UNCERTAINTY_SAMPLES = 1.0
"""Times that may be wrong by more are told."""
_JUMPS_TOLD = 3
_ROUNDING = 1e-6


def clock(recording: BaseRecording) -> CheckResult:
    """Whether the clock has no gap and no overlap, and runs at its nominal rate.

    Passing from one file to the next is no gap.

    Parameters
    ----------
    recording : BaseRecording
        From `open_recording`, or made of it.
    """
    found = recording_clock(recording)
    overlapping = int(recording.get_annotation(OVERLAPPING_SAMPLES) or 0)
    at_files = {piece.start_sample for piece in boundaries(recording)}
    jumps = [jump for jump in found.jumps if jump.sample not in at_files]
    filled = [piece for piece in found.pieces if piece.filled]
    values = {
        "rate_hz": found.rate_hz,
        "ppm": found.ppm,
        "gaps": len(jumps) + len(filled),
        "overlapping_samples": overlapping,
        "uncertainty_s": found.uncertainty_s,
        "corrupt_samples": found.corrupt_samples,
    }
    problems = list(doubts_about_times(recording))
    if jumps:
        told = ", ".join(
            f"{abs(jump.samples)} samples ({abs(jump.samples) / found.rate_hz:.3f} s) "
            f"{'are missing' if jump.samples > 0 else 'are there twice'} before sample {jump.sample}"
            for jump in jumps[:_JUMPS_TOLD]
        )
        more = f", and {len(jumps) - _JUMPS_TOLD} more" if len(jumps) > _JUMPS_TOLD else ""
        problems.append(
            f"The clock jumps in {len(jumps)} {'places' if len(jumps) > 1 else 'place'}: {told}{more}. The samples are "
            "sorted as they follow each other; the times of spikes are those of the clock, and spikes whose waveform "
            "spans a jump are marked, since they are not to be trusted."
        )
    if filled:
        zeros = sum(piece.end_sample - piece.start_sample for piece in filled)
        problems.append(
            f"Zeros stand for {zeros} missing samples ({zeros / found.nominal_hz:.3f} s) in {len(filled)} "
            f"{'gaps' if len(filled) > 1 else 'gap'}, first from sample {filled[0].start_sample}. Spikes whose "
            "waveform reaches into one are marked."
        )
    if any(jump.samples < 0 for jump in jumps) and not found.is_ascending:
        problems.append(
            "The clock started again within the recording. All of it is sorted, and times are counted from the first "
            "sample."
        )
    if found.corrupt_samples:
        problems.append(
            f"{found.corrupt_samples} samples have a number or timestamp that is corrupt, or was interpolated over a "
            "loss. They were taken to go on from their neighbours, so their times may be wrong."
        )
    if found.nominal_is_stated and abs(found.ppm) > MAX_PPM:
        problems.append(
            f"The samples came at {found.rate_hz:.6f} Hz by the clock, {found.ppm:+.0f} ppm from the stated "
            f"{found.nominal_hz:g} Hz: one of the two is wrong."
        )
    if found.uncertainty_s * found.nominal_hz > MAX_UNCERTAINTY_SAMPLES + _ROUNDING:
        problems.append(_uncertain(found))
    return CheckResult(
        name="clock",
        passed=not problems,
        severity="warn",
        description=" ".join(problems)
        or f"No gap; {found.rate_hz:.6f} samples per second by the {found.source}; {found.against_nominal}.",
        values=values,
    )


def doubts_about_times(recording: BaseRecording) -> tuple[str, ...]:
    """What a reader of the times should know beside the clock itself: what is doubtful, and how much was left out."""
    overlapping = int(recording.get_annotation(OVERLAPPING_SAMPLES) or 0)
    left_out = f"{overlapping} samples were left out, since their time was there before, or they are of another run."
    return (*clock_doubts(recording), *([left_out] if overlapping else []))


def _uncertain(found: Clock) -> str:
    by_s = f"{found.uncertainty_s * 1000:.3g} ms"
    if found.source == "timestamps of packets":
        return (
            f"The file does not give each sample its own time: the samples of {by_s} have the same timestamp, as if it "
            "were rounded, or that of a packet. It was taken as the time of the first of them: all times may be wrong "
            "by as much, in the same direction; a jump may be as much earlier than where it was found, and one in the "
            "last packet is not seen."
        )
    return (
        f"The timestamps jitter, so lines were fitted through them. Times may be wrong by up to {by_s}: a shorter gap "
        "would not have been noticed, and a longer one may be some samples from where it was found."
    )
