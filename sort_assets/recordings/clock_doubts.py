"""What makes a recording's clock doubtful although there is one: told by the check of the clock, with every result."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.errors import UnreadableRecordingError

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_ANNOTATION = "clock_doubts"
_ORDER = "clock_doubts_about_order"
_MOST_MISSING = 0.1
"""Share of the samples that may be without a number or time: with more missing, they are those of something else."""


def annotate_clock_doubts(recording: BaseRecording, doubts: Iterable[str]) -> None:
    """Add sentences on what is doubtful about the clock, in a form that JSON can hold."""
    recording.annotate(**{_ANNOTATION: [*(recording.get_annotation(_ANNOTATION) or []), *doubts]})


def annotate_order_doubts(recording: BaseRecording, doubts: Iterable[str]) -> None:
    """Leave sentences on what is doubtful about the order of files, in place of those it had: a part has others."""
    recording.annotate(**{_ORDER: list(doubts)})


def clock_doubts(recording: BaseRecording) -> list[str]:
    """The sentences that were annotated, in order; none is the usual case."""
    return [doubt for name in (_ANNOTATION, _ORDER) for doubt in recording.get_annotation(name) or []]


def length_doubt(what: str, count: int, num_samples: int, path: Path) -> list[str]:
    """The doubt about a file with more or fewer numbers or times than samples; none when there are as many.

    Parameters
    ----------
    what : str
        Plural, such as "timestamps".
    count : int
        How many of them there are.
    num_samples : int
        Of the recording.
    path : Path

    Raises
    ------
    UnreadableRecordingError
        When so many are missing that they can't be those of the samples.
    """
    if count == num_samples:
        return []
    if count < (1 - _MOST_MISSING) * num_samples:
        raise UnreadableRecordingError(
            f"'{path}' has {num_samples} samples, and {count} {what}: which samples they belong to is not known.",
            remedy="Export the recording again with one of them for each sample, or with a start and a rate instead.",
        )
    if count > num_samples:
        return [
            f"'{path.name}' has {count - num_samples} more {what} than samples: the first ones were taken, and if "
            "samples are missing elsewhere than at the end, the times after that place are too early, and jumps were "
            "found as many samples too late."
        ]
    return [fewer_doubt(what, num_samples - count, path)]


def fewer_doubt(what: str, lacking: int, path: Path) -> str:
    """The doubt about a file with fewer numbers or times than samples.

    Parameters
    ----------
    what : str
        Plural, such as "timestamps".
    lacking : int
        How many are missing.
    path : Path
    """
    return (
        f"'{path.name}' has {lacking} fewer {what} than samples: the last samples go on at the same rate, "
        "and if some are missing elsewhere, the times after that place are too late, and jumps were found as many "
        "samples too early."
    )
