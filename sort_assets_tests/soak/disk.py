"""A store on a small file system of its own, so that its disk can be filled without harm to anybody."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BYTES = 6_000_000_000
_FILLING = "@filling"
"""No recording's key begins so."""


class SmallDisk:
    """The disk of a store.

    Parameters
    ----------
    store : Path
    can_be_filled : bool
        Whether it is a file system of its own.
    """

    def __init__(self, store: Path, *, can_be_filled: bool) -> None:
        self._filling = store / _FILLING
        self.can_be_filled = can_be_filled

    def fill(self) -> None:
        """Leave nothing."""
        free = shutil.disk_usage(self._filling.parent).free
        with self._filling.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - 4096)

    def clear(self) -> None:
        """Give it all back; does nothing where it was not full."""
        self._filling.unlink(missing_ok=True)


@contextmanager
def small_disk(store: Path, *, wanted: bool) -> Iterator[SmallDisk]:
    """Give the store a disk of its own where that is wanted and this user may; it is gone with the block."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "tmpfs", str(store)]
    mounted = wanted and os.geteuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield SmallDisk(store, can_be_filled=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(store)], check=False)
