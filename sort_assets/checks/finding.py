"""What was looked at, and how it stands."""

from collections.abc import Iterable
from dataclasses import dataclass

from sort_assets.errors import OutOfResourcesError, SortAssetsError, SorterEnvironmentError, UnsortableRecordingError

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    level : {"ok", "warning", "error"}
        An error stops, a warning shows.
    subject, detail : str
    remedy : str
        Empty when nothing needs to be done.
    error : SortAssetsError or None
        What is to be raised; of level "error" only.
    """

    level: str
    subject: str
    detail: str
    remedy: str = ""
    error: SortAssetsError | None = None

    def to_dict(self) -> dict[str, str]:
        """What JSON can hold of it."""
        return {
            "level": self.level,
            "subject": self.subject,
            "detail": self.detail,
            "remedy": self.remedy,
            "failure_class": type(self.error).__name__ if self.error else "",
        }


def failed(subject: str, error: SortAssetsError) -> Finding:
    """The finding that something stands in the way."""
    return Finding(ERROR, subject, error.message, error.remedy, error)


def raise_first_error(findings: Iterable[Finding]) -> None:
    """Raise the error of the first finding that has one.

    What is wrong with the installation comes before what the machine lacks, and that before the recording: nothing can
    be said of a recording that could not be tried. That there is nothing to sort comes last, because it is no failure.
    """
    errors = [finding.error for finding in findings if finding.error is not None]
    if errors:
        raise min(errors, key=_turn)


def _turn(error: SortAssetsError) -> int:
    if isinstance(error, SorterEnvironmentError):
        return 0
    if isinstance(error, OutOfResourcesError):
        return 1
    return 3 if isinstance(error, UnsortableRecordingError) else 2
