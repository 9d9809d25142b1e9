"""The server that run workers and the processes of their steps are forked from.

It has imported what they need, so that a new process takes milliseconds instead of seconds, and shares that memory
with all others. The code server of `sort-assets up` starts it (`code_server`), and its runs fork their steps from the
same one. A run from the command line starts one of its own.
"""

import contextlib
import multiprocessing
import os
import time
from multiprocessing import forkserver, popen_forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from typing import Any

PRELOADED_MODULES = ["sort_assets.definitions", "sort_assets.platform.execution.preload"]
"""Torch and kilosort are not among them: most steps don't need them, and CUDA must not be initialised before a device
is leased."""
_UNKNOWN_EXIT = 255
"""What Python says of a process that it forked when the server that knew how it ended has died."""
_POLL_S = 0.1


class ForkedProcess(popen_forkserver.Popen):
    """A process that goes on when the server that it was forked from dies; Python would take it for ended."""

    def __init__(self, process_obj: object) -> None:
        import psutil  # the code location imports this module too

        super().__init__(process_obj)  # type: ignore[arg-type]
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):  # it has ended already
            self._process = psutil.Process(self.pid)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """How it ended; None while it lives, for which it is waited unless the flag says no."""
        while (code := super().poll(flag)) == _UNKNOWN_EXIT and self._lives():
            self.returncode = None
            if flag == os.WNOHANG:
                return None
            time.sleep(_POLL_S)
        return code

    def _lives(self) -> bool:
        import psutil

        with contextlib.suppress(psutil.Error):
            process = self._process
            return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False


def start_fork_server() -> ForkServerContext:
    """Start the server of this process, which imports everything meanwhile; returns the context that forks from it."""
    popen_forkserver.Popen = ForkedProcess  # type: ignore[misc]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dagster._core.executor.multiprocess", *PRELOADED_MODULES])
    forkserver.ensure_running()
    return context


def share_fork_server() -> None:
    """Let this process fork others from the server that it was forked from itself, if it was.

    Python says that it does so, but starts another one (`ForkServer.ensure_running`, up to Python 3.13), which imports
    everything once more. When the server has died, another one is started after all.
    """
    popen_forkserver.Popen = ForkedProcess  # type: ignore[misc]
    server: Any = forkserver._forkserver  # the only one of a process, without a public name
    if server._forkserver_pid is not None or server._forkserver_alive_fd is None:
        return  # this process has started its own, or will
    forked_by = os.getppid()

    def ensure_running() -> None:
        if os.getppid() == forked_by:
            resource_tracker.ensure_running()
            return
        del server.ensure_running  # the method of its class is left
        server.ensure_running()

    server.ensure_running = ensure_running
