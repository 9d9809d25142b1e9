"""What a recording lacks: a recording that is not whole is refused, unless its configuration accepts that.

`recording.accept_incomplete` is a person's word that a file is never going to be whole: the rig crashed, the copy was
cut off and the original is gone. Each format then reads as far as there is something, and notes what there is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sort_assets.checks.result import CheckResult
from sort_assets.errors import UnreadableRecordingError

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

COPY_OR_ACCEPT = (
    "Copy the recording again from where it was made, and compare the sizes. If nothing more was ever recorded, set "
    "recording.accept_incomplete to true: what is there is then sorted, and the result marked degraded."
)
_ANNOTATION = "missing_parts"


class Missing:
    """Collects what is missing from one recording.

    Parameters
    ----------
    accepted : bool
        Whether the recording is read all the same.
    """

    def __init__(self, accepted: bool) -> None:
        self.accepted = accepted
        self.parts: list[str] = []

    def note(self, message: str) -> None:
        """Note what is missing, in a sentence.

        Raises
        ------
        UnreadableRecordingError
            With this message, unless the configuration accepts it.
        """
        if not self.accepted:
            raise UnreadableRecordingError(message, remedy=COPY_OR_ACCEPT)
        self.parts.append(message)

    def annotate(self, recording: BaseRecording) -> None:
        """Leave the sentences with a recording, for `missing_parts`."""
        annotate_missing(recording, self.parts)


def annotate_missing(recording: BaseRecording, parts: Iterable[str]) -> None:
    """Leave sentences about what is missing with a recording, in place of those it had."""
    recording.annotate(**{_ANNOTATION: list(dict.fromkeys(parts))})


def complete(recording: BaseRecording) -> CheckResult:
    """Whether the recording is whole, as far as its files tell.

    Parameters
    ----------
    recording : BaseRecording
        From `open_recording`, or made of it.
    """
    lacking = missing_parts(recording)
    return CheckResult(
        name="complete",
        passed=not lacking,
        severity="warn",
        description=" ".join(lacking) or "Nothing is missing, as far as the files tell.",
        values={"missing_parts": len(lacking)},
    )


def missing_parts(recording: BaseRecording) -> tuple[str, ...]:
    """What a recording lacks, in sentences; empty for one that is whole."""
    return tuple(recording.get_annotation(_ANNOTATION) or ())
