"""How long the device idles between the sorts of a queue of recordings, with a sorter that holds it for a known time.

    python -m benchmarks.device_idle --recordings 6 --sort-seconds 30

Runs `sort-assets up` on a home of its own and launches a run for each recording, as somebody who drops a folder of
recordings does. The sorter imports torch and Kilosort as Kilosort's wrapper does, then notes when it begins to need the
device, sleeps, and notes when it no longer needs it. Without a GPU the device is the processor's lease, for which sorts
take turns in the same way. CUDA's own start, one to three seconds on a GPU, is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, Size, at_most
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.graphql import WebServer
from sort_assets_tests.fixtures.home import make_home
from sort_assets_tests.fixtures.servers import up

UNTIL_SORTED = PIPELINE[: PIPELINE.index("sorting") + 1]
HEAVY = ("torch", "kilosort.run_kilosort")
"""What Kilosort's wrapper imports before its first work: 5 to 6 s of a core."""
_LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) {
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_SORTER = '''
"""A sorter that needs the device for a known time, and finds a few spikes."""

import importlib
import json
import time
from pathlib import Path

import numpy as np
from spikeinterface.core import NpzSortingExtractor, NumpySorting
from spikeinterface.sorters import BaseSorter, run_sorter
from spikeinterface.sorters.sorterlist import sorter_dict

from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend

HEAVY = {heavy}
DEFAULTS = {{"seconds": 30.0, "log": "", "heavy": True}}


class HoldingSorter(BaseSorter):
    sorter_name = "holding"
    _default_params = dict(DEFAULTS)

    @classmethod
    def is_installed(cls):
        return True

    @classmethod
    def get_sorter_version(cls):
        return "1"

    @classmethod
    def _setup_recording(cls, recording, sorter_output_folder, params, verbose):
        pass

    @classmethod
    def _run_from_folder(cls, sorter_output_folder, params, verbose):
        recording = cls.load_recording_from_folder(sorter_output_folder.parent)
        for module in HEAVY if params["heavy"] else ():
            importlib.import_module(module)
        began = time.time()
        time.sleep(params["seconds"])
        with Path(params["log"]).open("a") as log:
            log.write(json.dumps([began, time.time()]) + "\\n")
        rate, samples = recording.sampling_frequency, recording.get_num_samples()
        trains = {{unit: np.arange(100 + unit, samples - 100, 997 + 101 * unit) for unit in range(4)}}
        found = NumpySorting.from_unit_dict([trains], rate)
        NpzSortingExtractor.write_sorting(found, sorter_output_folder / "found.npz")

    @classmethod
    def _get_result_from_folder(cls, sorter_output_folder):
        return NpzSortingExtractor(Path(sorter_output_folder) / "found.npz")


sorter_dict[HoldingSorter.sorter_name] = HoldingSorter


class HoldingBackend(SpikeInterfaceBackend):
    name = "holding"
    uses_gpu = True
    imported_ahead = HEAVY

    def default_params(self):
        return dict(DEFAULTS)
'''


@dataclass(frozen=True)
class Measured:
    """What was seen of a queue.

    Attributes
    ----------
    held : list of (float, float)
        When each sort began to need the device, and when it no longer needed it, in seconds since 1970, in order.
    launched : float
        When the first run was launched, in the same seconds.
    ended : float
        When the last run had ended.
    """

    held: list[tuple[float, float]]
    launched: float
    ended: float

    @property
    def device_s(self) -> float:
        """Seconds for which sorts needed the device, of all together."""
        return sum(end - begin for begin, end in self.held)

    @property
    def gaps_s(self) -> list[float]:
        """Between two sorts."""
        return [after[0] - before[1] for before, after in zip(self.held, self.held[1:], strict=False)]

    @property
    def idle(self) -> float:
        """Share of the time between the first sort's begin and the last one's end in which none needed the device."""
        return sum(self.gaps_s) / (self.held[-1][1] - self.held[0][0])

    @property
    def until_first_sort_s(self) -> float:
        """From the first launch until the first sort needs the device: its run starts, and filters the recording."""
        return self.held[0][0] - self.launched

    @property
    def after_last_sort_s(self) -> float:
        """From the moment at which the last sort no longer needs the device to the end of the last run."""
        return self.ended - self.held[-1][1]

    @property
    def queue_makespan(self) -> float:
        """From the first sort's begin to the last one's end, in sums of device times."""
        return (self.held[-1][1] - self.held[0][0]) / self.device_s

    @property
    def makespan(self) -> float:
        """From the first launch to the end of the last run, in sums of device times."""
        return (self.ended - self.launched) / self.device_s

    @property
    def parts(self) -> str:
        """What the makespan consists of beside the sorts."""
        return (
            f"{self.device_s:.0f} s of sorts, {self.until_first_sort_s:.1f} s before the first, "
            f"{sum(self.gaps_s):.1f} s between them, {self.after_last_sort_s:.1f} s after the last"
        )


@dataclass(frozen=True)
class Queue:
    """How many recordings are sorted, for how many seconds each, and what is made of each."""

    recordings: int
    sort_seconds: float
    assets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.recordings} recordings, {self.sort_seconds:g} s of a fake device each"


SIZES: dict[Size, Queue] = {
    "small": Queue(2, 1.0, UNTIL_SORTED),
    "usual": Queue(5, 30.0, UNTIL_SORTED),
    "full": Queue(20, 30.0, UNTIL_SORTED),
}


def rows(size: Size) -> Iterator[Row]:
    """The idle device and the makespan of a queue.

    What comes before the first sort and after the last one is there once, however long the queue is, so that the aim
    for all of it is one for a queue of twenty.
    """
    queue = SIZES[size]
    measured = measure(queue, heavy=size != "small")
    shown = " ".join(f"{gap:.1f}" for gap in measured.gaps_s)
    gap_s = statistics.median(measured.gaps_s)
    yield Row(f"gap between two sorts, {queue}", gap_s, "s", at_most(5.0), f"median of {shown}")
    yield Row(f"device idle between sorts, {queue}", 100 * measured.idle, "%", at_most(3.0))
    device_times = "x the device times"
    yield Row(f"first sort's begin to last one's end, {queue}", measured.queue_makespan, device_times, at_most(1.05))
    whole = at_most(1.05) if size == "full" else None
    yield Row(f"first launch to end of last run, {queue}", measured.makespan, device_times, whole, measured.parts)


def measure(queue: Queue, *, heavy: bool = True) -> Measured:
    """Sort a queue of recordings, and measure that."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="device-idle-")))
        plugin, log = _install(folder / "site-packages"), folder / "held.jsonl"
        recording, _ = make_ground_truth(duration_s=10.0, num_channels=16, num_units=4)
        source = write_nwb(recording, folder / "source.nwb")
        home = make_home(folder / "home")
        keys = [home.register(home.link(source, f"day{number}.nwb")) for number in range(queue.recordings)]
        params = {"seconds": queue.sort_seconds, "log": str(log), "heavy": heavy}
        config = {"sorter": {"name": "holding", "params": params}}
        server, _ = held.enter_context(up(home, folder / "up.log", python_path=plugin))
        launched = time.time()
        runs = [_launch(server, key, queue.assets, config) for key in keys]
        patience_s = 300 + queue.recordings * (queue.sort_seconds + 60)
        statuses = [server.wait_for(run, timeout_s=patience_s) for run in runs]
        with home.instance() as instance:
            ended = max(record.end_time or 0.0 for record in instance.get_run_records())
        if set(statuses) != {"SUCCESS"}:
            raise RuntimeError(f"Not all runs succeeded: {statuses}\n{(folder / 'up.log').read_text()[-5000:]}")
        return Measured(sorted(tuple(json.loads(line)) for line in log.read_text().splitlines()), launched, ended)


def _install(folder: Path) -> Path:
    info = folder / "holding_sorter-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "holding_sorter.py").write_text(textwrap.dedent(_SORTER).format(heavy=repr(HEAVY)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: holding-sorter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sort_assets.backends]\nholding = holding_sorter:HoldingBackend\n")
    return folder


def _launch(server: WebServer, key: str, assets: tuple[str, ...], config: dict[str, Any]) -> str:
    parameters = {
        "selector": {
            "repositoryLocationName": "sort_assets",
            "repositoryName": "__repository__",
            "pipelineName": "sort_recording",
            "assetSelection": [{"path": [asset]} for asset in assets],
        },
        "runConfigData": {"resources": {"backend": {"config": config}}},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}]},
    }
    answer = server.ask(_LAUNCH, parameters=parameters)["launchPipelineExecution"]
    if "run" not in answer:
        raise RuntimeError(f"The run was not launched: {answer}")
    return str(answer["run"]["runId"])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=6)
    parser.add_argument("--sort-seconds", type=float, default=30.0)
    parser.add_argument("--whole-pipeline", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    assets = PIPELINE if arguments.whole_pipeline else UNTIL_SORTED
    measured = measure(Queue(arguments.recordings, arguments.sort_seconds, assets))
    gaps = " ".join(f"{gap:.1f}" for gap in measured.gaps_s)
    print(f"gaps {gaps} s, median {statistics.median(measured.gaps_s):.1f} s")
    print(f"device idle {measured.idle:.1%}, of the device times: {measured.queue_makespan:.3f} from the first sort's")
    print(f"begin to the last one's end, {measured.makespan:.3f} from the first launch to the end of the last run")
    print(measured.parts)
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
