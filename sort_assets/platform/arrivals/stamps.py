"""Stamps of files and folders: sizes and times, by which a scan sees whether anybody has written to them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.fingerprint import is_clutter

PARTIAL = re.compile(
    r"\.(part|partial|filepart|tmp|temp|crdownload|download|incomplete|swp|!sync|!ut|aspera-ckpt)$|~$|^~",
    re.IGNORECASE,
)
"""Names that copying and downloading programs give to incomplete files. Those that begin with a dot (rsync) are skipped
with all other hidden files."""

_RSYNC = re.compile(r"^\..+\.(?![a-z]{6}$)(?![0-9]{6}$)[A-Za-z0-9]{6}$")
"""The name that rsync gives to an incomplete file: a dot, the name, a dot and six random letters or digits. Six
lower-case letters are taken for a suffix (`.rig.config`) and six digits for a date; rsync makes such names by chance in
0.5 % and 0.002 % of cases."""

MAX_DEPTH = 64
"""The deepest nesting of folders that is searched: each level takes frames of Python's stack, which has a thousand."""


def stamp_of(path: Path) -> str:
    """Sizes and times of a file, or of all files in a folder.

    The times of modification and of status change both count, so that neither a copy that keeps the original's times
    nor a file that replaces another goes unnoticed.

    Raises
    ------
    OSError
    UnreadableRecordingError
        When the folder has more than 64 levels.
    """
    return folder_stamp(path)[0] if path.is_dir() else file_stamp(path.stat())


def file_stamp(stat: os.stat_result) -> str:
    """Size and times of a file."""
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def folder_stamp(folder: Path) -> tuple[str, bool]:
    """The stamp of a folder, and whether nothing in it has the name of a partial copy."""
    digest = hashlib.blake2b(digest_size=16)
    complete = True
    for line, name in _stamped_files(list_folder(folder), (folder.name,)):
        complete = complete and not PARTIAL.search(name) and not _RSYNC.search(name)
        digest.update(line)
    return digest.hexdigest(), complete


def _stamped_files(entries: list[os.DirEntry[str]], folder: tuple[str, ...]) -> Iterator[tuple[bytes, str]]:
    for entry in entries:
        if is_clutter(entry.name):
            continue
        inside = (*folder, entry.name)
        try:
            if not entry.is_dir(follow_symlinks=False):
                stamp = file_stamp(entry.stat(follow_symlinks=False))
                yield os.fsencode(f"{'/'.join(inside[1:])}\0{stamp}\n"), entry.name
                continue
            if len(folder) > MAX_DEPTH:
                raise too_deep(Path(entry.path))
            inner = list_folder(Path(entry.path))
        except FileNotFoundError:
            continue  # removed during the walk
        yield from _stamped_files(inner, inside)


def too_deep(path: Path) -> UnreadableRecordingError:
    """The error for a folder below which nothing is searched."""
    return UnreadableRecordingError(
        f"'{path}' is not searched: more than {MAX_DEPTH} folders are nested.",
        remedy="Move what is in it further up, or ignore it with a rule.",
        path=str(path),
    )


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """What lies directly in a folder, in the order of names."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=attrgetter("name"))
