"""The check of a recording's clock: whether each sample follows the one before, at the rate that the file states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sort_assets.checks.result import CheckResult
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.clock_doubts import clock_doubts
from sort_assets.recordings.opening import OVERLAPPING_SAMPLES, boundaries

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

MAX_PPM = 500.0
"""Oscillators of acquisition systems are within 100 parts per million; more is another rate than the one stated."""
_JUMPS_TOLD = 3


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
    }
    problems = clock_doubts(recording)
    if jumps:
        told = ", ".join(
            f"{abs(jump.samples)} samples ({abs(jump.samples) / found.nominal_hz:.3f} s) "
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
    if overlapping:
        problems.append(f"{overlapping} samples were left out, since their time was there before.")
    if found.nominal_is_stated and abs(found.ppm) > MAX_PPM:
        problems.append(
            f"The samples came at {found.rate_hz:.6f} Hz by the clock, {found.ppm:+.0f} ppm from the stated "
            f"{found.nominal_hz:g} Hz: one of the two is wrong."
        )
    return CheckResult(
        name="clock",
        passed=not problems,
        severity="warn",
        description=" ".join(problems)
        or f"No gap; {found.rate_hz:.6f} samples per second by the {found.source}; {found.against_nominal}.",
        values=values,
    )
