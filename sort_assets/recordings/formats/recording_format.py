"""What a row of the table of formats says, and the rules by name that rows share.

The rules are asked for every file below the recordings root, so nothing here opens a file or imports a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.config import RecordingConfig

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


def _nothing(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    return ()


@dataclass(frozen=True)
class RecordingFormat:
    """A format of files or folders that hold recordings.

    Attributes
    ----------
    name : str
        Short name, shown and stored.
    description : str
        One line, shown to people.
    may_be_file : callable
        ``may_be_file(name, beside) -> bool``: whether a file of this name, in a folder that directly holds files and
        folders of the names in ``beside``, may be such a recording. Touches no disk: it is called for every file below
        the recordings root at every scan. False for a file that is only a part of the recording of another one.
    may_be_folder : callable
        ``may_be_folder(name, entries) -> bool``: whether a folder of this name, which directly holds files and folders
        of these names, may be such a recording. Touches no disk either.
    recognises : callable
        ``recognises(path) -> bool``, cheap. Raises `UnreadableRecordingError` for a file that has the format's name
        but is empty or damaged.
    streams : callable
        ``streams(path)``: names of the streams that can be sorted, each on its own.
    open : callable
        ``open(path, stream, config)``: the raw recording; ``stream`` may be None when there is one. With a
        ``probe_file`` in ``config``, what the recording says of its probe is not needed, and no reason to refuse it.
    may_grow : bool
        Whether further streams may be added to a recording after its first, so that this one needs a name too: a key
        stays what it is when the second probe's folder is copied.
    left_out : callable
        ``left_out(path)``: sentences about files of the recording that are not read, since others hold the same.
    """

    name: str
    description: str
    may_be_file: Callable[[str, Set[str]], bool]
    may_be_folder: Callable[[str, Set[str]], bool]
    recognises: Callable[[Path], bool]
    streams: Callable[[Path], tuple[str, ...]]
    open: Callable[[Path, str | None, RecordingConfig], BaseRecording]
    may_grow: bool = False
    left_out: Callable[[Path], tuple[str, ...]] = _nothing


def never(*_: object) -> bool:
    """The rule of formats that are only files, or only folders."""
    return False


@dataclass(frozen=True)
class Ending:
    """A rule for files by the end of their names, in capital letters or not.

    Attributes
    ----------
    suffixes : tuple of str
        In small letters.
    also : callable or None
        What must hold besides, of the name and of the names of what is beside the file.
    """

    suffixes: tuple[str, ...]
    also: Callable[[str, Set[str]], bool] | None = None

    def __call__(self, name: str, beside: Set[str]) -> bool:
        """Whether a file of this name may be a recording."""
        return name.lower().endswith(self.suffixes) and (self.also is None or self.also(name, beside))


@dataclass(frozen=True)
class Holding:
    """A rule for folders by the end of the names of files directly in them, in capital letters or not."""

    suffixes: tuple[str, ...]

    def __call__(self, name: str, entries: Set[str]) -> bool:
        """Whether a folder with these entries may be a recording."""
        return any(entry.lower().endswith(self.suffixes) for entry in entries)


def ending(*suffixes: str, also: Callable[[str, Set[str]], bool] | None = None) -> Ending:
    """The rule for files whose names end in one of these."""
    return Ending(suffixes, also)


def holding(*suffixes: str) -> Holding:
    """The rule for folders with a file whose name ends in one of these."""
    return Holding(suffixes)


def last_suffix(name: str) -> str:
    """The end of a name from its last dot, in small letters; of a name without one, the name."""
    return name[name.rfind(".") :].lower() if "." in name else name.lower()


def beside_it(name: str, beside: Set[str], *suffixes: str) -> bool:
    """Whether a file of the same name with one of these suffixes lies beside a file."""
    stem = name.rpartition(".")[0]
    return any(f"{stem}{one}" in beside or f"{stem}{one.upper()}" in beside for one in suffixes)
