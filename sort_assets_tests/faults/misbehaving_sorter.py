"""A sorter that misbehaves as its parameters say, and otherwise sorts like MountainSort 5.

Tests install it as another lab's package, so that every process of a run finds it.
"""

import ctypes
import os
import resource
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from spikeinterface.core import BaseRecording
from spikeinterface.sorters import run_sorter

from sort_assets.backends.oom_schedule import MemoryParameter, OomSchedule
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend

NAME = "misbehaving"
CHEAP = {"scheme": "1", "npca_per_channel": 1}


class MisbehavingBackend(SpikeInterfaceBackend):
    """Misbehaves once: the file that its parameter `done` names keeps it from doing so again; without, always."""

    name = NAME

    def default_params(self) -> dict[str, Any]:
        return {"fault": "", "done": "", "seconds": 600, "batch_size": 30_000, "memory": 0}

    def oom_schedule(self, failure: Exception | None) -> OomSchedule:
        return ((MemoryParameter("sorter.params.batch_size", default=30_000, limit=15_000),),)

    def run_here(self, recording: BaseRecording, folder: Path) -> None:
        params = {**self.default_params(), **self.config.sorter.params}
        done = Path(params["done"]) if params["done"] else None
        if params["fault"] and not (done and done.exists()):
            if done is not None:
                done.touch()
            FAULTS[params["fault"]](params)
        run_sorter("mountainsort5", recording, folder=folder, verbose=False, **CHEAP)


def hang_in_a_blocking_call(params: Mapping[str, Any]) -> None:
    time.sleep(params["seconds"])


def hang_holding_the_interpreter(params: Mapping[str, Any]) -> None:
    ctypes.PyDLL(None).sleep(int(params["seconds"]))  # PyDLL keeps the interpreter's lock


def hang_deaf_to_sigterm(params: Mapping[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(params["seconds"])


def swallow_every_interrupt(params: Mapping[str, Any]) -> None:
    end = time.monotonic() + params["seconds"]
    while time.monotonic() < end:
        try:
            time.sleep(params["seconds"])
        except BaseException:
            print("interrupted, and going on")


def only_log(params: Mapping[str, Any]) -> None:
    """Sign of life: lines in the log, and no work to speak of."""
    for second in range(int(params["seconds"] * 5)):
        print(f"line {second}", flush=True)
        time.sleep(0.2)


def crash(params: Mapping[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def allocate(params: Mapping[str, Any]) -> None:
    """Ask torch for 10 kB per sample of a batch, where only `memory` bytes are left to this process."""
    import torch

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + params["memory"], hard))
    try:
        torch.empty(10_000 * params["batch_size"], dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


FAULTS = {
    "hang": hang_in_a_blocking_call,
    "hold": hang_holding_the_interpreter,
    "deaf": hang_deaf_to_sigterm,
    "swallow": swallow_every_interrupt,
    "log": only_log,
    "crash": crash,
    "allocate": allocate,
}
