"""What a sorter's log says about how far it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TAIL_BYTES = 4_000_000
# "Detect peaks:  45%|####      | 9/20 [00:03<00:04,  2.5it/s]", as tqdm writes it, one after the other.
_BAR = re.compile(r"(?:([^\r\n|%]*?):)?\s*(\d{1,3})%\|[^|\r\n]*\|\s*\d+/\d+ \[[^<\r\n]*<([0-9:?]+)")


@dataclass(frozen=True)
class Stage:
    """A stage of a sorter.

    Attributes
    ----------
    name : str
        For people, and for whoever decides by the stage in which a failure happened.
    marker : str
        Text that the sorter's log contains from the beginning of the stage on.
    """

    name: str
    marker: str


@dataclass(frozen=True)
class Progress:
    """How far a sorter is.

    Attributes
    ----------
    stage : str or None
        The stage that it is in, where its log tells.
    number, of : int
        The stage's number, from 1, and how many there are; 0 where the stages are not known.
    percent : int or None
        Of the stage.
    left_s : float or None
        Estimated seconds to the end of the stage.
    """

    stage: str | None
    number: int = 0
    of: int = 0
    percent: int | None = None
    left_s: float | None = None

    def __str__(self) -> str:
        words = self.stage or "running"
        if self.of:
            words += f" (stage {self.number} of {self.of})"
        if self.percent is not None:
            words += f", {self.percent} %"
        if self.left_s is not None:
            words += f", about {self.left_s:.0f} s left in this stage"
        return words


def current_stage(log: str, stages: Sequence[Stage]) -> str | None:
    """The name of the stage that a log announced last; None before the first."""
    latest = max(stages, key=lambda stage: log.rfind(stage.marker), default=None)
    return latest.name if latest is not None and latest.marker in log else None


def read_progress(output_path: Path, log_path: Path | None, stages: Sequence[Stage]) -> Progress:
    """Read how far a sorter is from its own log and from the progress bars in its process's output.

    Parameters
    ----------
    output_path : Path
        What the process writes to stdout and stderr; it need not exist yet.
    log_path : Path or None
        The sorter's own log.
    stages : sequence of Stage
        In order; empty where they are not known, and then the last progress bar's title stands for the stage.
    """
    stage = current_stage(read_tail(log_path), stages) if log_path is not None else None
    bars = _BAR.findall(read_tail(output_path))
    title, percent, left = bars[-1] if bars else ("", "100", "")
    done = int(percent) == 100  # of a stage that has ended
    number = next((index for index, one in enumerate(stages, 1) if one.name == stage), 0)
    return Progress(
        stage=stage or title.strip() or None,
        number=number,
        of=len(stages) if number else 0,
        percent=None if done else int(percent),
        left_s=None if done else _seconds(left),
    )


def read_tail(path: Path | None, num_bytes: int = _TAIL_BYTES) -> str:
    """The end of a text file; empty when it is not there."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - num_bytes))
            return file.read().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _seconds(clock: str) -> float | None:
    """Seconds of tqdm's "1:02:03" or "02:03"; None of its "?"."""
    if not re.fullmatch(r"\d+(:\d+)+", clock):
        return None
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return float(total)
