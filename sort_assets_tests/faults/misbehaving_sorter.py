"""A sorter that misbehaves as its parameters say, and otherwise sorts like MountainSort 5.

Tests install it as another lab's package, so that every process of a run finds it.
"""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

from spikeinterface.core import BaseRecording
from spikeinterface.sorters import run_sorter

from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend

NAME = "misbehaving"
CHEAP = {"scheme": "1", "npca_per_channel": 1}


class MisbehavingBackend(SpikeInterfaceBackend):
    """Misbehaves once: the file that its parameter `done` names keeps it from doing so again; without, always."""

    name = NAME

    def default_params(self) -> dict[str, Any]:
        return {"fault": "", "done": "", "seconds": 600}

    def run_here(self, recording: BaseRecording, folder: Path) -> None:
        params = {**self.default_params(), **self.config.sorter.params}
        done = Path(params["done"]) if params["done"] else None
        if params["fault"] and not (done and done.exists()):
            if done is not None:
                done.touch()
            FAULTS[params["fault"]](params["seconds"])
        run_sorter("mountainsort5", recording, folder=folder, verbose=False, **CHEAP)


def hang_in_a_blocking_call(seconds: float) -> None:
    time.sleep(seconds)


def hang_holding_the_interpreter(seconds: float) -> None:
    ctypes.PyDLL(None).sleep(int(seconds))  # PyDLL keeps the interpreter's lock


def hang_deaf_to_sigterm(seconds: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)


def swallow_every_interrupt(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(seconds)
        except BaseException:
            print("interrupted, and going on")


def only_log(seconds: float) -> None:
    """Sign of life: lines in the log, and no work to speak of."""
    for second in range(int(seconds * 5)):
        print(f"line {second}", flush=True)
        time.sleep(0.2)


def crash(seconds: float) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


FAULTS = {
    "hang": hang_in_a_blocking_call,
    "hold": hang_holding_the_interpreter,
    "deaf": hang_deaf_to_sigterm,
    "swallow": swallow_every_interrupt,
    "log": only_log,
    "crash": crash,
}
