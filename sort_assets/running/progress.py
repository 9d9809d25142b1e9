"""The progress of a sorter, read from its log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TAIL_BYTES = 4_000_000
_HEAD_BYTES = 500_000
_BLOCK_BYTES = 1_000_000
_BARS_BYTES = 20_000
# "Detect peaks:  45%|####      | 9/20 [00:03<00:04,  2.5it/s]", as tqdm writes it, one after the other. Every part
# has a longest length, so that the time of a search grows as the length of a line, not as its square.
_BAR = re.compile(r"\b(\d{1,3})%\|[^|]{0,300}\|\s{0,20}\d{1,12}/\d{1,12} \[[^<\]]{0,20}<([0-9:?]{1,20})")
_LONGEST_TITLE = 100


@dataclass(frozen=True)
class Stage:
    """A stage of a sorter.

    Attributes
    ----------
    name : str
        For messages, and for decisions that depend on the stage of a failure.
    marker : str
        Text that the sorter's log contains from the beginning of the stage on.
    logs_steadily : bool
        Whether the sorter writes something for each batch, or each place of the probe, so that a long silence in its
        logs alone means that it hangs.
    """

    name: str
    marker: str
    logs_steadily: bool = False


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


class StageReader:
    """Follows a sorter's log, and remembers the stage that it announced last.

    Only what is new is read, so that looking often costs little however long the log grows, and no stage is missed. A
    log that was cut or replaced is read from its beginning; the stage stays until it announces another.

    Parameters
    ----------
    log_path : Path or None
        The sorter's own log; it need not exist yet.
    stages : sequence of Stage
        In order; empty where they are not known.
    """

    def __init__(self, log_path: Path | None, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._log_path = log_path
        self._markers = [(stage.marker.encode(), stage.name) for stage in stages]
        self._overlap = max((len(marker) for marker, _ in self._markers), default=1) - 1
        self._inode = 0
        self._position = 0
        self._end = b""
        self._stage: str | None = None

    def read(self) -> str | None:
        """The name of the stage that the log announced last; None before the first."""
        for block in self._new_blocks():
            searched = self._end + block
            found = {searched.rfind(marker): name for marker, name in self._markers if marker in searched}
            if found:
                self._stage = found[max(found)]
            self._end = searched[max(0, len(searched) - self._overlap) :]
        return self._stage

    def logs_steadily(self) -> bool:
        """Whether the present stage is one in which the sorter writes steadily."""
        present = self.read()
        return any(stage.logs_steadily for stage in self.stages if stage.name == present)

    def progress(self, output_path: Path) -> Progress:
        """Read how far the sorter is, from its log and from the progress bars in its process's output.

        Parameters
        ----------
        output_path : Path
            What the process writes to stdout and stderr; it need not exist yet. Without known stages, the title of
            its last progress bar stands for the stage.
        """
        stage = self.read()
        title, percent, left = _last_bar(read_tail(output_path, _BARS_BYTES)) or ("", 100, "")
        done = percent == 100  # of a stage that has ended
        number = next((index for index, one in enumerate(self.stages, 1) if one.name == stage), 0)
        return Progress(
            stage=stage or title or None,
            number=number,
            of=len(self.stages) if number else 0,
            percent=None if done else percent,
            left_s=None if done else _seconds(left),
        )

    def _new_blocks(self) -> Iterator[bytes]:
        if self._log_path is None or not self._markers:
            return
        try:
            file = self._log_path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._position:
                self._inode, self._position, self._end = status.st_ino, 0, b""
            file.seek(self._position)
            while block := file.read(_BLOCK_BYTES):
                self._position += len(block)
                yield block


def read_ends(path: Path | None, head_bytes: int = _HEAD_BYTES, tail_bytes: int = _TAIL_BYTES) -> str:
    """Beginning and end of a text file, or all of it where they meet; empty when it is not there."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= head_bytes + tail_bytes:
                return file.read().decode("utf-8", errors="replace")
            head = file.read(head_bytes)
            file.seek(size - tail_bytes)
            return b"\n".join((head, file.read(tail_bytes))).decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def read_tail(path: Path | None, num_bytes: int = _TAIL_BYTES) -> str:
    """The end of a text file; empty when it is not there."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - num_bytes))
            return file.read().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _last_bar(output: str) -> tuple[str, int, str] | None:
    """Title, percent and time left of the last progress bar."""
    for line in reversed(output.replace("\r", "\n").split("\n")):
        bars = list(_BAR.finditer(line))
        if bars:
            before = line[: bars[-1].start()].rpartition("]")[2].strip()
            title = before[-_LONGEST_TITLE:].removesuffix(":").strip() if before.endswith(":") else ""
            return title, int(bars[-1][1]), bars[-1][2]
    return None


def _seconds(clock: str) -> float | None:
    """Seconds of tqdm's "1:02:03" or "02:03"; None of its "?"."""
    if not re.fullmatch(r"\d+(:\d+)+", clock):
        return None
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return float(total)
