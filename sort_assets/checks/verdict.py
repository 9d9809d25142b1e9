"""What a check came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["warn", "error"]


@dataclass(frozen=True)
class Verdict:
    """What a check came to.

    Attributes
    ----------
    name : str
        Of the check, as its function is called.
    passed : bool
        Also true when there is nothing to check.
    severity : {"warn", "error"}
        How bad it is when it does not pass. After an error the next step would be wasted.
    description : str
        In words: what was found, with its numbers, and what to do when it does not pass.
    values : Mapping[str, float or int or str]
        The numbers on which it was decided; finite. Those that could not be had are left out.
    """

    name: str
    passed: bool
    severity: Severity
    description: str
    values: Mapping[str, float | int | str] = field(default_factory=dict)


def counted(number: int, noun: str) -> str:
    """Like "1 unit" or "1,200 units"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
