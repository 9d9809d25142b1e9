"""Files that are whole or not there, also after the power failed."""

import os
import uuid
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
