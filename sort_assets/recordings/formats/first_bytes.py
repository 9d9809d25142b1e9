"""Recognising a maker's files by their first bytes, or by the groups of an HDF5 file. Nothing is imported for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.formats.reading import NOT_UNDERSTOOD, NOTHING_RECORDED, open_hdf5

_HDF5 = b"\x89HDF\r\n\x1a\n"
_LONGEST_START = 65536


def begins_with(
    suffixes: tuple[str, ...], *beginnings: bytes, at: int = 0, foreign: bool = False
) -> Callable[[Path], bool]:
    """Whether a file has one of the suffixes, and one of these beginnings.

    Parameters
    ----------
    suffixes : tuple of str
        In small letters.
    *beginnings : bytes
        None takes any file that is not empty.
    at : int
        Byte at which they begin.
    foreign : bool
        Whether others use the suffix too: a file that begins otherwise is then not recognised, instead of being taken
        for a damaged one.
    """

    def recognises(path: Path) -> bool:
        if not (path.name.lower().endswith(suffixes) and path.is_file()):
            return False
        with path.open("rb") as file:
            start = file.read(at + max(map(len, beginnings), default=1))
        if not start and not foreign:
            raise UnreadableRecordingError(f"'{path}' is empty.", remedy=NOTHING_RECORDED)
        if not beginnings or start[at:].startswith(beginnings):
            return True
        if foreign:
            return False
        raise UnreadableRecordingError(
            f"'{path}' is damaged or incomplete, or of another program: it does not begin as {path.suffix} files do.",
            remedy=NOT_UNDERSTOOD,
        )

    return recognises


def begins_with_text(suffixes: tuple[str, ...], word: bytes) -> Callable[[Path], bool]:
    """Whether a file has one of the suffixes, and a word near its beginning."""

    def recognises(path: Path) -> bool:
        if not (path.name.lower().endswith(suffixes) and path.is_file()):
            return False
        with path.open("rb") as file:
            return word in file.read(_LONGEST_START)

    return recognises


def has_groups(suffixes: tuple[str, ...], *layouts: tuple[str, ...]) -> Callable[[Path], bool]:
    """Whether a file is an HDF5 file that has all groups, data sets or attributes of one of the layouts."""

    def recognises(path: Path) -> bool:
        if not (path.name.lower().endswith(suffixes) and path.is_file()):
            return False
        with path.open("rb") as opened:
            if opened.read(len(_HDF5)) != _HDF5 and path.suffix.lower() == ".h5":
                return False  # others write .h5 too, and Maxwell's row tells a damaged one
        with open_hdf5(path) as file:
            names = {*file.attrs}
            return any(all(name in file or name in names for name in layout) for layout in layouts)

    return recognises


def holds_file(suffixes: tuple[str, ...], *beginnings: bytes) -> Callable[[Path], bool]:
    """Whether a folder directly holds a file with one of the suffixes; those have one of these beginnings."""
    is_one = begins_with(suffixes, *beginnings)

    def recognises(path: Path) -> bool:
        if not path.is_dir():
            return False
        files = sorted(file for file in path.iterdir() if file.name.lower().endswith(suffixes) and file.is_file())
        if not files:
            return False
        filled = [file for file in files if file.stat().st_size > 0]
        if not filled:
            raise UnreadableRecordingError(
                f"All {len(files)} {suffixes[0]} files of '{path}' are empty.", remedy=NOTHING_RECORDED
            )
        return is_one(filled[0])

    return recognises
