"""Files that are whole or absent, whatever fails; folders that others may remove while they are empty."""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path


def sync(path: Path) -> None:
    """Bring a file or folder to the disk; anything else is left alone."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file, or replace it, so that a reader sees the old text or the new one.

    Raises
    ------
    OSError
        When it can't be written; what was there stays.
    """
    fresh = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        fresh.write_text(text, encoding="utf-8")
        sync(fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync(path.parent)


def entries(folder: Path, prefix: str = "") -> list[Path]:
    """What is in a folder and has a name that begins with `prefix`, in their order; nothing when it is not there."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def num_bytes(paths: Iterable[Path]) -> int:
    """Size of files and of everything in folders; of a symbolic link, its own."""
    total = 0
    for path in paths:
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        total += sum(one.lstat().st_size for one in (path, *inside) if one.is_symlink() or not one.is_dir())
    return total


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that are there and empty, the innermost first, up to the first that is not empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
