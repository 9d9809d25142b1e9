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
    makespan_s : float
        From the first launch to the end of the last run.
    """

    held: list[tuple[float, float]]
    makespan_s: float

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
    def makespan(self) -> float:
        """In sums of device times."""
        return self.makespan_s / self.device_s


SIZES: dict[Size, tuple[int, float, tuple[str, ...]]] = {
    "small": (2, 1.0, UNTIL_SORTED),
    "usual": (5, 30.0, UNTIL_SORTED),
    "full": (20, 60.0, PIPELINE),
}
"""Recordings, seconds of each sort, and what is made of each recording."""


def rows(size: Size) -> Iterator[Row]:
    """The idle device and the makespan of a queue."""
    recordings, sort_seconds, assets = SIZES[size]
    measured = measure(recordings=recordings, sort_seconds=sort_seconds, assets=assets, heavy=size != "small")
    queue = f"{recordings} recordings, {sort_seconds:g} s of a fake device each"
    gaps = statistics.median(measured.gaps_s)
    shown = " ".join(f"{gap:.1f}" for gap in measured.gaps_s)
    yield Row(f"gap between two sorts, {queue}", gaps, "s", at_most(5.0), f"median of {shown}")
    yield Row(f"device idle between sorts, {queue}", 100 * measured.idle, "%", at_most(3.0))
    ends = "from the launch of the first to the end of the last run; the steps before the first sort count"
    yield Row(f"makespan, {queue}", measured.makespan, "x the device times", at_most(1.05), ends)


def measure(
    *, recordings: int, sort_seconds: float, assets: tuple[str, ...] = UNTIL_SORTED, heavy: bool = True
) -> Measured:
    """Sort a queue of recordings, and measure that."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="device-idle-")))
        plugin, log = _install(folder / "site-packages"), folder / "held.jsonl"
        recording, _ = make_ground_truth(duration_s=10.0, num_channels=16, num_units=4)
        source = write_nwb(recording, folder / "source.nwb")
        home = make_home(folder / "home")
        keys = [home.register(home.link(source, f"day{number}.nwb")) for number in range(recordings)]
        params = {"seconds": sort_seconds, "log": str(log), "heavy": heavy}
        config = {"sorter": {"name": "holding", "params": params}}
        server, _ = held.enter_context(up(home, folder / "up.log", python_path=plugin))
        launched = time.time()
        runs = [_launch(server, key, assets, config) for key in keys]
        statuses = [server.wait_for(run, timeout_s=300 + recordings * (sort_seconds + 60)) for run in runs]
        makespan_s = time.time() - launched
        if set(statuses) != {"SUCCESS"}:
            raise RuntimeError(f"Not all runs succeeded: {statuses}\n{(folder / 'up.log').read_text()[-5000:]}")
        return Measured(sorted(tuple(json.loads(line)) for line in log.read_text().splitlines()), makespan_s)


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
    measured = measure(
        recordings=arguments.recordings,
        sort_seconds=arguments.sort_seconds,
        assets=PIPELINE if arguments.whole_pipeline else UNTIL_SORTED,
    )
    gaps = " ".join(f"{gap:.1f}" for gap in measured.gaps_s)
    print(f"gaps {gaps} s, median {statistics.median(measured.gaps_s):.1f} s")
    print(f"device idle {measured.idle:.1%}, makespan {measured.makespan:.2f} of {measured.device_s:.0f} s")
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
