"""What a benchmark gives: rows of a table, each with its aim; and the sizes in which benchmarks run.

A benchmark is a module of this folder with a function `rows(size: str) -> Iterable[Row]`, which `python -m
benchmarks.bench` finds, runs in a process of its own and puts into the table. Best it yields each row as soon as it has
it: the load of the machine is written beside it. A row that takes long is left out of the smaller sizes.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Size = Literal["small", "usual", "full"]
SIZES: tuple[Size, ...] = get_args(Size)
"""`small` is for the tests: it takes seconds, and only its output counts. `usual`: all benchmarks together take less
than 15 minutes on two cores. `full` has the long rows too."""


@dataclass(frozen=True)
class Aim:
    """A limit that a figure is to keep; `at_most` and `at_least` make them."""

    limit: float
    at_most: bool

    def reached(self, figure: float) -> bool:
        return figure <= self.limit if self.at_most else figure >= self.limit

    def __str__(self) -> str:
        return f"at {'most' if self.at_most else 'least'} {self.limit:g}"


def at_most(limit: float) -> Aim:
    """The aim of a figure that is to be low."""
    return Aim(limit, at_most=True)


def at_least(limit: float) -> Aim:
    """The aim of a figure that is to be high."""
    return Aim(limit, at_most=False)


@dataclass(frozen=True)
class Row:
    """A figure that was measured.

    Attributes
    ----------
    name : str
        What was measured on what, so that it can be understood without the code: "band-pass and write, 64 channels".
    figure : float or None
        None where it can't be measured here; the note says why.
    unit : str
        "MB per CPU s", "s", "x the plain script".
    aim : Aim or None
        None for a figure that explains another one.
    note : str
        What helps to judge the figure: how many times it was measured, the parts of a ratio.

    Raises
    ------
    ValueError
        When the figure is no finite number.
    """

    name: str
    figure: float | None
    unit: str
    aim: Aim | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.figure is not None and not math.isfinite(self.figure):
            raise ValueError(f"{self.name}: the figure is {self.figure}.")

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without an aim or a figure."""
        return None if self.aim is None or self.figure is None else self.aim.reached(self.figure)
