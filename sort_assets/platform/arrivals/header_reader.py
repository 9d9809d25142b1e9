"""Reading headers in a process of its own.

A damaged file that crashes its reader, or a share that does not answer, does not affect other recordings; and the heavy
libraries stay out of the calling process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sort_assets.config.model import RecordingConfig
from sort_assets.errors import SortAssetsError, StalledIoError, UnreadableRecordingError
from sort_assets.recordings.headers import RecordingHeader, read_header
from sort_assets.running.termination import end_process_group

_START_S = 20.0
_GRACE_S = 1.0


class HeaderReader:
    """Reads headers one after the other, in a child process that starts with the first and serves the others too.

    Parameters
    ----------
    timeout_s : float
        How long one recording may take.
    """

    def __init__(self, timeout_s: float = 15.0) -> None:
        self.timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The child process's id, while there is one."""
        return None if self._process is None else self._process.pid

    def prepare(self, wait_s: float = 0.0) -> bool:
        """Start the process unless it runs; returns whether it is ready within some seconds.

        It imports what reading needs, which takes seconds, and many more on a busy machine.
        """
        with self._lock:
            return self._prepared(wait_s) is not None

    def read(self, path: Path, config: RecordingConfig, *, streams: Sequence[str] | None = None) -> RecordingHeader:
        """As `sort_assets.recordings.headers.read_header`.

        Raises
        ------
        StalledIoError
            When the recording was not read within `timeout_s`.
        UnreadableRecordingError
            Also when reading crashed the process.
        """
        request = {"path": os.fspath(path), "config": config.model_dump(mode="json"), "streams": streams}
        with self._lock:
            answer = self._ask(request, path)
        if "failure" in answer:
            raise SortAssetsError.from_dict(answer["failure"])
        return RecordingHeader.from_dict(answer["header"])

    def close(self) -> None:
        """End the process; the next `read` starts another."""
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, Any], path: Path) -> dict[str, Any]:
        process = self._prepared(_START_S)
        if process is None:
            raise StalledIoError(
                f"The process that reads headers did not start within {_START_S:g} s.",
                remedy="The machine is very busy, or the disk with the Python packages does not answer. The next scan "
                "tries again.",
            )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = _line(process, self.timeout_s)
        except (BrokenPipeError, EOFError):
            self._end()
            raise UnreadableRecordingError(
                f"Reading the header of '{path}' crashed the process (status {process.returncode}).",
                remedy="The file is probably damaged in a way that its reader does not survive. Compare it with the "
                "original, and copy it again if they differ. If they do not, ignore it with a rule, and please report "
                "this message.",
            ) from None
        except TimeoutError:
            self._end()
            raise StalledIoError(
                f"The header of '{path}' was not read within {self.timeout_s:g} s.",
                remedy="Check the disk or the share that it is on. A later scan tries again. A large file "
                "that has to be read through (.plx, .smr, .mpx, .continuous) can be registered by hand: sort-assets "
                "register PATH.",
            ) from None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _prepared(self, wait_s: float) -> subprocess.Popen[bytes] | None:
        if self._process is None or self._process.poll() is not None:
            self._end()
            # A process group of its own, so that what a reader starts ends with it. It exits when its stdin closes, as
            # also happens when this process dies.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        if not self._ready:
            try:
                _line(self._process, wait_s)
            except TimeoutError:
                return None
            except EOFError:
                self._end()
                return None
            self._ready = True
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process, self._ready = self._process, None, False
        end_process_group(process, grace_s=_GRACE_S)
        process.poll()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


shared_header_reader = HeaderReader()
"""The reader that all ticks of this process share; its child process starts when it is first needed."""


def _line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """The next line that the process writes."""
    assert process.stdout is not None
    descriptor, deadline, line = process.stdout.fileno(), time.monotonic() + timeout_s, b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(descriptor, 65536)
        if not part:
            raise EOFError
        line += part
    return line


def main() -> None:
    """Answer requests, a line of JSON each, until stdin closes."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print goes to stderr
    import spikeinterface.extractors  # noqa: F401 - before the first request, whose time is limited

    from sort_assets.recordings.formats.reading import NOT_UNDERSTOOD

    answers.write(b"ready\n")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            config = RecordingConfig.model_validate(request["config"])
            header = read_header(Path(request["path"]), config, streams=request["streams"])
            answer: dict[str, Any] = {"header": header.to_dict()}
        except SortAssetsError as error:
            answer = {"failure": error.to_dict()}
        except Exception as error:  # whatever a reader raises, the next recording is read
            failure = UnreadableRecordingError(
                f"'{request['path']}' can't be read: {type(error).__name__}: {error}.",
                remedy=NOT_UNDERSTOOD,
            )
            answer = {"failure": failure.to_dict()}
        answers.write(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
