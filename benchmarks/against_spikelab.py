"""The platform against SpikeLab's `sort_recording`, on the same recording, in turn, in the same run.

    python -m benchmarks.bench against_spikelab --size full

SpikeLab 0.1.2 works with SpikeInterface 0.104: it gets an environment of its own, `.venv-spikelab`, with the versions
of ours for everything else. Making it asks for a package index, and takes minutes: only `full` has these rows. It saves
nothing of its sort but the units that its curation keeps: these are what its accuracy is of.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from spikeinterface.core import BaseSorting, NumpySorting

from benchmarks.end_to_end import Setting, compare, run_platform
from benchmarks.machine import CHECKOUT
from benchmarks.process_tree import BenchmarkError, Used, measure
from benchmarks.rows import Row, Size, at_most
from sort_assets.config.layers import resolve_config

ENVIRONMENT = CHECKOUT / ".venv-spikelab"
SPIKELAB = ("spikelab==0.1.2", "spikeinterface==0.104.9")
BESIDE = ("kilosort", "pandas", "psutil", "natsort", "six", "pynwb", "numba", "scikit-learn", "matplotlib")
"""What it imports and does not require by itself."""
RATE_HZ = 30000.0
AIM = at_most(0.8)


def rows(size: Size) -> Iterator[Row]:
    """Wall, CPU, memory, reading, writing and accuracy of both."""
    setting = Setting(minutes=2, channels=32)
    if size != "full":
        yield Row(f"{setting}, wall time", None, "x the SpikeLab", AIM, "only with BENCH=full")
        return
    make_environment()
    yield from compare(setting, {"platform": run_platform, "SpikeLab": run_spikelab}, AIM)


def make_environment() -> None:
    """Make the environment where it is not there yet.

    Raises
    ------
    BenchmarkError
        A package can't be installed.
    """
    done = ENVIRONMENT / ".installed"
    if done.exists():
        return
    pinned = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = [line for line in pinned if line.startswith("torch==")]
    _run(sys.executable, "-m", "venv", "--clear", ENVIRONMENT)
    constraints = ENVIRONMENT / "constraints.txt"
    constraints.write_text("\n".join(line for line in pinned if not line.startswith("spikeinterface==")))
    pip = (ENVIRONMENT / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    # First and by itself: any other way of asking for it may fetch another build.
    _run(*pip, torch)
    _run(*pip, "--constraint", constraints, *SPIKELAB, *BESIDE)
    done.touch()


def run_spikelab(nwb: Path, folder: Path, setting: Setting) -> tuple[Used, dict[str, float], BaseSorting]:
    """Sort with SpikeLab, with the parameters of Kilosort that the platform resolves."""
    sorter = resolve_config(setting.config["preset"]).config.sorter
    params = json.dumps({**sorter.params, "torch_device": sorter.device})
    command = [str(ENVIRONMENT / "bin/python"), "-P", str(CHECKOUT / "benchmarks/sort_with_spikelab.py")]
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [*command, str(nwb), str(folder), params, json.dumps(setting.jobs)]
    used = measure(words, folder / "spikelab.log", environment=own)
    with np.load(folder / "units.npz") as units:
        samples = np.rint(units["times_s"] * RATE_HZ).astype(np.int64)
        order = np.argsort(samples, kind="stable")
        return used, {}, NumpySorting.from_samples_and_labels([samples[order]], [units["units"][order]], RATE_HZ)


def _run(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-5:]
        raise BenchmarkError(f"SpikeLab's environment can't be made: {' '.join(map(str, words))}\n" + "\n".join(said))
