"""What becomes of a recording with a faulty clock: `python -m sort_assets_tests.recordings.clock_fault_outcomes`."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from enum import StrEnum
from pathlib import Path

import numpy as np

from sort_assets.errors import SortAssetsError
from sort_assets.recordings import open_recording
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.clock_check import clock
from sort_assets_tests.recordings.clock_fault_files import WRITERS, ClockCase, FaultyFiles, decode

CASES = 200
_LEAST_KEPT = 0.4
"""Share of the samples that have to be left for a recording to count as read."""


_DEFECTS = (AssertionError, AttributeError, IndexError, KeyError, NameError, TypeError, OverflowError)
"""Causes that are no refusal: whatever a reader raises becomes an error with a remedy."""


class Outcome(StrEnum):
    """What a person gets."""

    RIGHT = "right"
    RIGHT_AND_WARNED = "right, warned"
    WRONG_AND_WARNED = "not as it was, warned"
    REFUSED = "refused"
    SILENT_AND_WRONG = "SILENT AND WRONG"


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
    times_s = recording_clock(recording).timeline().times_s(np.arange(len(held)))
    off_s = np.abs(times_s - case.true_times_s[held])
    is_right = bool((off_s <= case.tolerance_s).all()) and len(held) >= _LEAST_KEPT * len(np.unique(held))
    if is_right:
        return (Outcome.RIGHT if check.passed else Outcome.RIGHT_AND_WARNED), check.description
    if not check.passed:
        return Outcome.WRONG_AND_WARNED, check.description
    worst = np.nan if np.isnan(off_s).all() else float(np.nanmax(off_s))
    return Outcome.SILENT_AND_WRONG, f"by up to {worst:.6f} s, {np.isnan(off_s).sum()} unknown: {check.description}"


def is_as_good(case: ClockCase, result: Outcome) -> bool:
    """Whether what is good was read, and without a warning unless its timestamps are rough."""
    allowed = {Outcome.RIGHT, *([Outcome.RIGHT_AND_WARNED] if case.is_rough else [])}
    return result in allowed or not (case.is_good or case.is_rough)


def main() -> None:
    """Print how many cases of each format end in which way; with the name of a format, each of its cases."""
    formats = sys.argv[1:] or list(WRITERS)
    print(f"| {CASES} cases of | {' | '.join(Outcome)} | good and not told as such |")
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
                if len(sys.argv) > 1 or result is Outcome.SILENT_AND_WRONG or is_spoiled:
                    print(f"{recording_format} {seed} [{case.kind}] {result}: {told}", file=sys.stderr)
        print(f"| {recording_format} | {' | '.join(str(found[one]) for one in Outcome)} | {spoiled} |")


if __name__ == "__main__":
    main()
