"""What Dagster's servers print, in files of bounded size.

A server, and whatever it starts, writes into its file by itself: nothing that it prints waits for `sort-assets up`, and
a run that outlives `up` can still write. So a full file can't be renamed: it is copied and emptied.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

FOLDER = "server_logs"
"""In the Dagster home."""
_LARGEST_BYTES = 5_000_000
_OLD_FILES = 3
_TAIL_BYTES = 20_000
_LAST_LINES = 20


class ServerOutput:
    """The file with what a server prints, beside up to three older ones: `NAME.log.1` is the newest of them.

    Parameters
    ----------
    folder : Path
        Created when it is missing.
    name : str
        The server's name.
    largest_bytes : int
        Size above which the file is emptied, after it was copied.
    """

    def __init__(self, folder: Path, name: str, *, largest_bytes: int = _LARGEST_BYTES) -> None:
        self.file = folder / f"{name}.log"
        self._largest_bytes = largest_bytes
        self._start = 0

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file, to be written to by a server that starts now."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:  # appending, so that whoever writes goes on at the end of an emptied file
            self._start = file.tell()
            yield file

    def last_lines(self) -> list[str]:
        """The last lines since the server was last started; none where they can't be read."""
        with suppress(OSError), self.file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._start if self._start <= size else 0, size - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace").rstrip().splitlines()[-_LAST_LINES:]
        return []

    def rotate(self) -> None:
        """Copy and empty the file if it has grown too large."""
        with suppress(OSError):  # whatever is wrong with the disk, the servers go on
            if self.file.stat().st_size > self._largest_bytes:
                handler = RotatingFileHandler(self.file, backupCount=_OLD_FILES, delay=True)
                handler.rotator = _copy_and_empty
                handler.doRollover()
                self._start = 0


def _copy_and_empty(file: str, copy: str) -> None:
    try:
        shutil.copyfile(file, copy)
    except OSError:  # on a full disk, less output is better than more
        Path(copy).unlink(missing_ok=True)
    os.truncate(file, 0)
