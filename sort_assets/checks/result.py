"""The result of a check: of the machine, of a recording before it is sorted, or of finished results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sort_assets.errors import OutOfResourcesError, SortAssetsError, SorterEnvironmentError, UnsortableRecordingError

Severity = Literal["warn", "error"]
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes
    ----------
    name : str
        The name of the check function, or the thing that was checked, like "disk".
    passed : bool
        Also true when there is nothing to check.
    severity : {"warn", "error"}
        How bad it is if the check does not pass. After an error the next step would be wasted.
    description : str
        What was found, with its numbers.
    values : Mapping[str, float or int or str]
        The numbers on which the result is based; finite. Unknown ones are left out.
    remedy : str
        What to do about it; empty when nothing needs to be done, or when the description says it.
    error : SortAssetsError or None
        The error to raise, for a failed check of severity "error" that stops a sort.
    """

    name: str
    passed: bool
    severity: Severity
    description: str
    values: Mapping[str, float | int | str] = field(default_factory=dict)
    remedy: str = ""
    error: SortAssetsError | None = None

    @property
    def level(self) -> Level:
        """The level is "ok" for a check that passed; otherwise its severity."""
        if self.passed:
            return "ok"
        return "warning" if self.severity == "warn" else "error"

    def to_dict(self) -> dict[str, str]:
        """The row of `sort-assets doctor --json`, and of the table of a preflight check."""
        return {
            "level": self.level,
            "subject": self.name,
            "detail": self.description,
            "remedy": self.remedy,
            "failure_class": type(self.error).__name__ if self.error else "",
        }


def ok(name: str, description: str, remedy: str = "") -> CheckResult:
    """A check that passed."""
    return CheckResult(name, True, "warn", description, remedy=remedy)


def warning(name: str, description: str, remedy: str = "") -> CheckResult:
    """A check that did not pass, but stops nothing."""
    return CheckResult(name, False, "warn", description, remedy=remedy)


def failed(name: str, error: SortAssetsError) -> CheckResult:
    """A check that found an error which would make the sort fail."""
    return CheckResult(name, False, "error", error.message, remedy=error.remedy, error=error)


def raise_first_error(results: Iterable[CheckResult]) -> None:
    """Raise the most fundamental error among the results, if there is one.

    Errors of the installation come first, then missing resources of the machine, then errors of the recording: a
    recording that could not be tried can't be judged. "Nothing to sort" comes last, because it is not a failure.
    """
    errors = [result.error for result in results if result.error is not None]
    if errors:
        raise min(errors, key=_order)


def counted(number: int, noun: str) -> str:
    """Like "1 unit" or "1,200 units"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _order(error: SortAssetsError) -> int:
    if isinstance(error, SorterEnvironmentError):
        return 0
    if isinstance(error, OutOfResourcesError):
        return 1
    return 3 if isinstance(error, UnsortableRecordingError) else 2
