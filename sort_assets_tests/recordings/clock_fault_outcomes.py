"""What becomes of a recording with a faulty clock: `python -m sort_assets_tests.recordings.clock_fault_outcomes`.

A warning excuses no more than it says: a time that is off must lie within the stated uncertainty, or be one of as many
as are said to be corrupt; samples that are not there must be counted; each run must begin at a stated place.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np

from sort_assets.checks.result import CheckResult
from sort_assets.errors import SortAssetsError
from sort_assets.recordings import open_recording
from sort_assets.recordings.clock import Clock, recording_clock
from sort_assets.recordings.clock_check import clock
from sort_assets.recordings.opening import boundaries
from sort_assets_tests.recordings.clock_fault_files import RATE_HZ, WRITERS, ClockCase, FaultyFiles, Truth, decode

CASES = 200
_MOST_OF_ANOTHER_RUN = 0.1
"""Share of the samples that may be left out because they are of another run (`Clock.without_overlaps`)."""
_ROUNDING_SAMPLES = 1.05
"""One sample, and what a line through timestamps adds."""
_TOO_FEW_TO_TELL = 16
"""Samples between a jump that is stated and an end of the file: whether the jump or their numbers are wrong, nobody
knows."""
_LENGTH_DOUBT = re.compile(r"has (\d+) (?:fewer|more) [a-z ]+ than samples")
_DEFECTS = (AssertionError, AttributeError, IndexError, KeyError, NameError, TypeError, OverflowError)
"""Causes that are no refusal: whatever a reader raises becomes an error with a remedy."""


class Outcome(StrEnum):
    """What a person gets."""

    RIGHT = "right"
    RIGHT_AND_WARNED = "right, warned"
    AS_STATED = "not as it was, warned, within what is stated"
    REFUSED = "refused"
    BEYOND_WHAT_IS_STATED = "WARNED, BUT BEYOND WHAT IS STATED"
    SILENT_AND_WRONG = "SILENT AND WRONG"


FAILURES = (Outcome.BEYOND_WHAT_IS_STATED, Outcome.SILENT_AND_WRONG)


def outcome(case: ClockCase) -> tuple[Outcome, str]:
    """Open a recording as the pipeline does, and compare the times that would be delivered; the words that go with it.

    Whatever is no error with a remedy is raised.
    """
    try:
        recording = open_recording(case.path)
    except SortAssetsError as error:
        if not error.remedy or isinstance(error.__cause__, _DEFECTS):
            raise
        return Outcome.REFUSED, str(error)
    check = clock(recording)
    held = decode(recording.get_traces())
    own = recording_clock(recording)
    wrong = _wrong(case, case.truth, own.timeline(), held, check)
    if not wrong:
        return (Outcome.RIGHT if check.passed else Outcome.RIGHT_AND_WARNED), check.description
    if check.passed:
        return Outcome.SILENT_AND_WRONG, f"{wrong}: {check.description}"
    places = {piece.start_sample for piece in boundaries(recording)} | {jump.sample for jump in own.jumps}
    stated = _Stated(check, own, places)
    beyond = [_wrong(case, truth, own, held, check, stated) for truth in (case.truth, *case.other_readings)]
    if not own.is_ascending and "counted from the first sample" not in check.description:
        beyond = ["nothing is said of the times that are delivered"]
    if all(beyond):
        return Outcome.BEYOND_WHAT_IS_STATED, f"{' / '.join(beyond)}: {check.description}"
    return Outcome.AS_STATED, f"{wrong}: {check.description}"


@dataclass(frozen=True)
class _Stated:
    """What a warning says of how far times may be wrong.

    Attributes
    ----------
    check : CheckResult
    found : Clock
    places : set of int
        Samples that are said not to go on from the one before.
    """

    check: CheckResult
    found: Clock
    places: set[int]

    @property
    def shift(self) -> int:
        """By how many samples times, and places, may be wrong because there are fewer or more of them than samples."""
        return sum(int(number) for number in _LENGTH_DOUBT.findall(self.check.description))

    def has(self, sample: int) -> bool:
        """Whether a jump is said to be there."""
        return any(abs(sample - place) <= self.shift for place in self.places)

    def wrong_at(self, off_s: np.ndarray) -> np.ndarray:
        """Which samples are off by more."""
        wrong = off_s > max(_tolerance_s(self.found), self.found.uncertainty_s) + self.shift / RATE_HZ
        before = self.shift
        if "earlier than where it was found, and one in the last packet is not seen" in self.check.description:
            before += round(self.found.uncertainty_s * RATE_HZ)
            wrong[-before:] = False
        for place in self.places:
            wrong[max(place - before, 0) : place + self.shift] = False
        ends = sorted(self.places | {0, len(wrong)})
        for start, end in ((0, ends[1]), (ends[-2], len(wrong))):
            if end - start < _TOO_FEW_TO_TELL:
                wrong[start:end] = False
        return wrong


def _wrong(
    case: ClockCase, truth: Truth, found: Clock, held: np.ndarray, check: CheckResult, stated: _Stated | None = None
) -> str:
    """In which way times are not the true ones, beyond what is stated; empty where they are."""
    left_out = len(case.held) - len(held)
    if left_out != check.values["overlapping_samples"]:
        return f"{left_out} samples are not there, and {check.values['overlapping_samples']} are said to be left out"
    lost = _lost_moments(case, truth, held)
    corrupt = 0 if stated is None else found.corrupt_samples
    if lost > corrupt:
        return f"{lost} samples were left out although nothing else is of their time"
    starts = [0, *(np.flatnonzero(np.diff(truth.runs[held])) + 1).tolist()]
    if stated is None and len(starts) > 1:
        return f"{len(starts)} runs"
    unstated = [start for start in starts[1:] if stated is not None and not stated.has(start)]
    if unstated:
        return f"nothing is said of the run that begins at sample {unstated[0]}"
    off_s = found.times_s(np.arange(len(held))) - truth.times_s[held]
    if len(starts) > 1:
        for start, end in pairwise([*starts, len(held)]):
            off_s[start:end] -= np.median(off_s[start:end])
    off_s = np.abs(off_s)
    wrong = off_s > _tolerance_s(found) if stated is None else stated.wrong_at(off_s)
    if np.count_nonzero(wrong) + lost <= corrupt:
        return ""
    worst = RATE_HZ * float(off_s[wrong].max())
    return f"{np.count_nonzero(wrong)} samples, from {int(np.argmax(wrong))} on, by up to {worst:.1f} samples"


def _tolerance_s(found: Clock) -> float:
    return _ROUNDING_SAMPLES / RATE_HZ + 2 * float(np.spacing(abs(found.start_time_s)))


def _lost_moments(case: ClockCase, truth: Truth, held: np.ndarray) -> int:
    """How many samples were left out of whose time there is no other, and which are not of a short other run."""
    gone = np.setdiff1d(case.held, held)
    if not len(gone):
        return 0
    there_s = np.sort(truth.times_s[np.unique(held)])
    index = np.searchsorted(there_s, truth.times_s[gone]).clip(1, len(there_s) - 1)
    apart_s = np.minimum(*(np.abs(there_s[index - back] - truth.times_s[gone]) for back in (0, 1)))
    lost = gone[apart_s * RATE_HZ > _ROUNDING_SAMPLES]
    if len(lost) > _MOST_OF_ANOTHER_RUN * len(case.held):
        return len(lost)
    return int(np.count_nonzero(truth.runs[lost] == np.bincount(truth.runs[held]).argmax()))


def is_as_good(case: ClockCase, result: Outcome) -> bool:
    """Whether what is good was read, and without a warning unless its timestamps are rough."""
    allowed = {Outcome.RIGHT, *([Outcome.RIGHT_AND_WARNED, Outcome.AS_STATED] if case.is_rough else [])}
    return result in allowed or not (case.is_good or case.is_rough)


def main() -> None:
    """Print how many cases of each format end in which way; with the name of a format, each of its cases."""
    formats = sys.argv[1:] or list(WRITERS)
    print(f"| {CASES} cases of | {' | '.join(Outcome)} | good, but not read as good |")
    print(f"|---|{'---|' * (len(Outcome) + 1)}")
    for recording_format in formats:
        found: Counter[Outcome] = Counter()
        spoiled = 0
        with tempfile.TemporaryDirectory() as folder:
            files = FaultyFiles(Path(folder))
            for seed in range(CASES):
                with tempfile.TemporaryDirectory() as case_folder:
                    case = files.write(recording_format, seed, Path(case_folder))
                    result, told = outcome(case)
                found[result] += 1
                is_spoiled = not is_as_good(case, result)
                spoiled += is_spoiled
                if len(sys.argv) > 1 or result in FAILURES or is_spoiled:
                    print(f"{recording_format} {seed} [{case.kind}] {result}: {told}", file=sys.stderr)
        print(f"| {recording_format} | {' | '.join(str(found[one]) for one in Outcome)} | {spoiled} |", flush=True)


if __name__ == "__main__":
    main()
