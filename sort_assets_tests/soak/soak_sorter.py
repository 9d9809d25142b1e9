"""The sorter of the soak: quick, on the CPU, run by SpikeInterface, and so by the whole way that a real one goes.

The soak installs it as another lab's package, so that every process of a run finds it. It writes down when it starts
and when it has finished, which is how the soak counts sorts.
"""

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting
from spikeinterface.sorters import BaseSorter
from spikeinterface.sorters.sorterlist import sorter_dict

from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend

NAME = "soak"
JOURNAL_VARIABLE = "SOAK_JOURNAL"
THRESHOLD = 6.0
"""In standard deviations of a channel's noise."""
REFRACTORY_SAMPLES = 60
_SPIKES = "spikes.npz"
_STORED_AT = -5
"""Place of the recording's key in <store>/<key>/sorting/.staging-…/sorter/spikeinterface/sorter_output."""


class SoakSorter(BaseSorter):
    """Every channel on which something crosses the threshold is a unit."""

    sorter_name = NAME
    handle_multi_segment = False
    _default_params: ClassVar[dict[str, Any]] = {"seconds": 1.0}

    @classmethod
    def is_installed(cls) -> bool:
        return True

    @classmethod
    def get_sorter_version(cls) -> str:
        return "1"

    @classmethod
    def _setup_recording(cls, *_: Any) -> None:
        pass

    @classmethod
    def _run_from_folder(cls, sorter_output_folder: Path, params: dict[str, Any], verbose: bool) -> None:  # noqa: ARG003 - named by SpikeInterface
        key = Path(sorter_output_folder).parts[_STORED_AT - 1]
        note("start", key)
        recording = cls.load_recording_from_folder(Path(sorter_output_folder).parent, with_warnings=False)
        end = time.monotonic() + params["seconds"]
        samples, channels = find_spikes(recording)
        np.savez(Path(sorter_output_folder) / _SPIKES, samples=samples, channels=channels)
        while (left := end - time.monotonic()) > 0:
            print(f"{left:.1f} s to go", flush=True)
            time.sleep(min(0.5, left))
        note("finish", key)

    @classmethod
    def _get_result_from_folder(cls, sorter_output_folder: Path) -> BaseSorting:
        found = np.load(Path(sorter_output_folder) / _SPIKES)
        recording = cls.load_recording_from_folder(Path(sorter_output_folder).parent, with_warnings=False)
        return NumpySorting.from_samples_and_labels(
            [found["samples"]], [found["channels"]], recording.sampling_frequency
        )


sorter_dict[NAME] = SoakSorter  # by which SpikeInterface runs it and reads its result


class SoakBackend(SpikeInterfaceBackend):
    """The sorter above, without anything special."""

    name = NAME


def find_spikes(recording: BaseRecording) -> tuple[np.ndarray, np.ndarray]:
    """Samples of the spikes, shape (spikes,), and the index of the channel on which each is deepest."""
    traces = recording.get_traces().astype("float32")
    noise = np.median(np.abs(traces), axis=0) / 0.6745
    depth = (traces / noise).min(axis=1)
    below = np.flatnonzero(depth < -THRESHOLD)
    events = np.split(below, np.flatnonzero(np.diff(below) > REFRACTORY_SAMPLES) + 1) if below.size else []
    samples = np.array([event[depth[event].argmin()] for event in events], dtype="int64")
    return samples, traces[samples].argmin(axis=1).astype("int64")


def note(what: str, key: str) -> None:
    """Add a line to the soak's journal; short enough to be written at once, whoever writes beside."""
    with open(os.environ[JOURNAL_VARIABLE], "a", encoding="utf-8") as journal:  # noqa: PTH123 - appended at once
        journal.write(f"{time.time():.3f}\t{what}\t{os.getpid()}\t{key}\n")
