"""A cheap fingerprint of a recording's files: it changes when a file is replaced, but it is no checksum."""

import hashlib
from pathlib import Path

from sort_assets.config.rules import SIDECAR_SUFFIX

_BLOCK = 64 * 1024
_BLOCKS_PER_FILE = 16
_SAMPLED_FILES = 32
_CLUTTER = (".ds_store", "thumbs.db", "desktop.ini")
_NOTES = (SIDECAR_SUFFIX, ".txt", ".md", ".pdf", ".docx", ".xlsx", ".png", ".jpg", ".log")
"""Suffixes of files in which no format keeps samples, gains or positions."""


def is_clutter(name: str) -> bool:
    """Whether a file in a folder is no part of the recording: notes, pictures, what desktops leave, our sidecars."""
    return name.lower().endswith(_NOTES) or name.lower() in _CLUTTER or name.startswith("._")


def fingerprint(path: Path) -> str:
    """Hash of the names and sizes of a recording's files, and of evenly spaced blocks of some of them.

    At most 16 blocks of 64 KiB are read from each of at most 32 files, chosen evenly by name: 32 MiB, however large the
    recording is and however many files it has.

    Parameters
    ----------
    path : Path
        A file, or a folder, in which the names and sizes of all files count except clutter.

    Returns
    -------
    str
        Hexadecimal, 32 characters; the same wherever the recording is moved.
    """
    files = [path]
    if path.is_dir():
        files = sorted(child for child in path.rglob("*") if child.is_file() and not is_clutter(child.name))
    sampled = set(_evenly(len(files) - 1, _SAMPLED_FILES))
    digest = hashlib.blake2b(digest_size=16)
    for index, file in enumerate(files):
        size = file.stat().st_size
        if size == 0 and file != path:
            continue  # a marker, for example of a complete copy
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        if index not in sampled:
            continue
        with file.open("rb") as opened:
            for offset in _evenly(max(0, size - _BLOCK), _BLOCKS_PER_FILE):
                opened.seek(offset)
                digest.update(opened.read(_BLOCK))
    return digest.hexdigest()


def _evenly(last: int, count: int) -> list[int]:
    """At most `count` different numbers from 0 to `last`, both ends among them."""
    return sorted({last * step // (count - 1) for step in range(count)})
