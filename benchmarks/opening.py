"""How long opening hours of a recording takes, of which every sample has a number or a timestamp.

    python -m benchmarks.opening FOLDER [hours [file ...]]

Writes files of 384 channels into FOLDER once (about 15 GB for 2 hours: their samples are holes that take no room),
opens each in a fresh process and then in another one, which finds the clocks that the first has kept, and prints the
processor's and the wall's seconds of both, and how much memory the first took.
Delete FOLDER afterwards. With another version of the code on PYTHONPATH it measures that one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from spikeinterface.core import BaseRecording

from benchmarks.process_tree import BenchmarkError
from benchmarks.rows import Row, Size
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.writers import write_intan, write_maxwell, write_open_ephys, write_spikeglx

CHANNELS = 384
RATE_HZ = 30_000
BLOCK = 128
MOST_BLOCKS = 100_000
"""Of an Intan file, whose numbers stand between the samples: to delete millions of holes takes half an hour."""
CHUNK = 10_000_000
_SERIES = "acquisition/ElectricalSeries"
_OPEN = """
import json, sys, threading, time
from pathlib import Path
from sort_assets.recordings import open_recording
from sort_assets.recordings.formats import intan, maxwell, nwb, open_ephys, spikeglx
import pynwb, spikeinterface.extractors
def memory_mb():  # without the pages of files, which the system may take back
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024
def watch():
    while not done:
        seen.append(memory_mb())
        time.sleep(0.005)
def opened(path):
    wall, processor = time.perf_counter(), time.process_time()
    recording = open_recording(path)
    return [time.perf_counter() - wall, time.process_time() - processor], int(recording.get_num_samples())
opened(Path(sys.argv[1]))
done, seen = [], [memory_mb()]
watching = threading.Thread(target=watch)
watching.start()
first, samples = opened(Path(sys.argv[2]))
done.append(True)
watching.join()
print(json.dumps([*first, max(seen) - seen[0], samples]))
"""


def rows(size: Size) -> Iterator[Row]:
    """The processor's time for opening recordings of which every sample has a number or a timestamp."""
    if size == "usual":  # files of many GB are written first
        return
    hours, names = (2.0, list(WRITERS)) if size == "full" else (0.01, ["spikeglx_g0"])
    with tempfile.TemporaryDirectory(prefix="sort_assets-opening-") as temporary:
        for name in names:
            first, later = _opened_twice(Path(temporary), name, int(hours * 3600 * RATE_HZ) // BLOCK * BLOCK)
            note = f"{first.memory_mb:.0f} MB; later, with the clock that was kept: {later.cpu_s:.2f} s"
            yield Row(f"open {hours:g} h of {CHANNELS} channels, {name}", first.cpu_s, "CPU s", None, note)


@dataclass(frozen=True)
class Opened:
    """What opening a recording took."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    samples: int


def _opened_twice(folder: Path, name: str, samples: int) -> list[Opened]:
    """Open a recording in a fresh process, and again in another one; write it where it is not there yet."""
    path, short = folder / name, folder / f"short_{name}"
    if not path.exists():
        WRITERS[name](short, BLOCK * 100)
        WRITERS[name](path, samples)
    with tempfile.TemporaryDirectory() as kept:
        return [_opened(short, path, kept) for _ in range(2)]


def main() -> None:
    """Write what is not there yet, and print a line for each format."""
    folder = Path(sys.argv[1])
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    samples = int(hours * 3600 * RATE_HZ) // BLOCK * BLOCK
    folder.mkdir(parents=True, exist_ok=True)
    print(f"| {hours:g} h of {CHANNELS} channels | wall s | processor s | later: wall s | processor s | MB | samples |")
    print("|---|---|---|---|---|---|---|")
    for name in sys.argv[3:] or WRITERS:
        first, later = _opened_twice(folder, name, samples)
        times = f"{first.wall_s:.2f} | {first.cpu_s:.2f} | {later.wall_s:.2f} | {later.cpu_s:.2f}"
        print(f"| {name} | {times} | {first.memory_mb:.0f} | {first.samples} |", flush=True)


def _opened(short: Path, path: Path, kept: str) -> Opened:
    command = [sys.executable, "-c", _OPEN, short, path]
    environment = {**os.environ, "XDG_CACHE_HOME": kept}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{path.name} can't be opened:\n{done.stderr.strip()}")
    return Opened(*json.loads(done.stdout.splitlines()[-1]))


def _tiny() -> BaseRecording:
    return make_ground_truth(BLOCK * 10 / RATE_HZ, CHANNELS, 0, RATE_HZ)[0]


def _write_npy(path: Path, samples: int, dtype: str, scale: float) -> None:
    values = np.lib.format.open_memmap(path, "w+", dtype, (samples,))
    for start in range(0, samples, CHUNK):
        end = min(start + CHUNK, samples)
        values[start:end] = np.arange(start, end) * scale if dtype == "<f8" else np.arange(start, end)
    values.flush()


def _open_ephys(path: Path, samples: int) -> None:
    write_open_ephys(_tiny(), path, lfp=False)
    (stream,) = path.rglob("continuous/*")
    with (stream / "continuous.dat").open("r+b") as file:
        file.truncate(samples * CHANNELS * 2)
    _write_npy(stream / "sample_numbers.npy", samples, "<i8", 1)
    _write_npy(stream / "timestamps.npy", samples, "<f8", 1 / (RATE_HZ * 1.00004))


def _nwb(path: Path, samples: int, *, times: bool, compressed: bool = False) -> None:
    write_nwb(_tiny(), path, timestamps=times)
    with h5py.File(path, "a") as file:
        series = file[_SERIES]
        attributes = dict(series["data"].attrs)
        del series["data"]
        # Chunks that were never written take no room.
        data = series.create_dataset("data", (samples, CHANNELS), "int16", chunks=(8_192, 64))
        data.attrs.update(attributes)
        data[-1:] = 1
        if not times:
            return
        attributes = dict(series["timestamps"].attrs)
        del series["timestamps"]
        # As neuroconv stores them: chunks of 10 MB.
        storage = {"chunks": (1_250_000 if samples > 1_250_000 else samples,), "compression": "gzip"}
        stamps = series.create_dataset("timestamps", (samples,), "float64", **(storage if compressed else {}))
        stamps.attrs.update(attributes)
        for start in range(0, samples, CHUNK):
            end = min(start + CHUNK, samples)
            stamps[start:end] = 12.5 + np.arange(start, end) / (RATE_HZ * 1.00004)


def _nwb_rate(path: Path, samples: int) -> None:
    _nwb(path, samples, times=False)


def _nwb_times(path: Path, samples: int) -> None:
    _nwb(path, samples, times=True)


def _nwb_compressed(path: Path, samples: int) -> None:
    _nwb(path, samples, times=True, compressed=True)


def _intan_file(path: Path, samples: int) -> None:
    samples = min(samples, MOST_BLOCKS * BLOCK)
    short = path.with_name("blocks.rhd")
    write_intan(_tiny(), short)
    content = short.read_bytes()
    block = 4 * BLOCK + CHANNELS * 2 * BLOCK + 3 * 32 * 2 + 2 + 2 * BLOCK
    header = len(content) - 10 * block
    with path.open("wb") as file:
        file.write(content[:header])
        file.truncate(header + samples // BLOCK * block)
        for index in range(samples // BLOCK):
            file.seek(header + index * block)
            file.write(np.arange(index * BLOCK, (index + 1) * BLOCK, dtype="<i4").tobytes())
    short.unlink()


def _intan_folder(path: Path, samples: int) -> None:
    write_intan(_tiny(), path, layout="file_per_signal_type")
    with (path / "time.dat").open("wb") as file:
        for start in range(0, samples, CHUNK):
            np.arange(start, min(start + CHUNK, samples), dtype="<i4").tofile(file)
    for name, channels in (("amplifier", CHANNELS), ("auxiliary", 3), ("supply", 1), ("digitalin", 1)):
        with (path / f"{name}.dat").open("r+b") as file:
            file.truncate(samples * channels * 2)


def _maxwell(path: Path, samples: int) -> None:
    write_maxwell(_tiny(), path)
    with h5py.File(path, "a") as file:
        routed = file["wells/well000/rec0000/groups/routed"]
        del routed["raw"]
        raw = routed.create_dataset("raw", (CHANNELS, samples), "uint16", chunks=(CHANNELS, 200))
        raw[:, -1:] = 512
        numbers = routed.create_dataset("frame_nos", (samples,), "uint64", chunks=(min(samples, 20_000),))
        for start in range(0, samples, CHUNK):
            numbers[start : start + CHUNK] = np.arange(start, min(start + CHUNK, samples))


def _spikeglx(path: Path, samples: int) -> None:
    write_spikeglx(_tiny(), path, lf=False)
    for file in path.rglob("*.bin"):
        num_bytes = samples * (CHANNELS + 1) * 2
        with file.open("r+b") as samples_file:
            samples_file.truncate(num_bytes)
        meta = file.with_suffix(".meta")
        text = re.sub(r"fileSizeBytes=\d+", f"fileSizeBytes={num_bytes}", meta.read_text())
        meta.write_text(re.sub(r"fileTimeSecs=[\d.]+", f"fileTimeSecs={samples / RATE_HZ}", text))


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "open_ephys": _open_ephys,
    "rate.nwb": _nwb_rate,
    "times.nwb": _nwb_times,
    "compressed.nwb": _nwb_compressed,
    "intan.rhd": _intan_file,
    "intan_folder": _intan_folder,
    "maxwell.h5": _maxwell,
    "spikeglx_g0": _spikeglx,
}


if __name__ == "__main__":
    main()
