"""Scaling, band-pass and writing a `.dat`: megabytes of the raw int16 file in each second of the processor.

    python -m benchmarks.bench band_pass

On the same raw file, in turn: this project as its step binary_dat writes (`write_dat`); the same with SpikeInterface's
band-pass, as other chains have it; SpikeInterface's own `save` as a user runs it, and with garbage collection out of
the way (`gc.freeze`); and a plain copy with fsync. Seconds of the processor are user and system, of all threads.
"""

import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from spikeinterface import preprocessing
from spikeinterface.core import BaseRecording, BinaryRecordingExtractor
from spikeinterface.preprocessing import bandpass_filter, common_reference, phase_shift, scale

from benchmarks.rows import Row, Size, at_least, at_most
from sort_assets.config import RecordingConfig
from sort_assets.recordings import prepare
from sort_assets.recordings.bad_channels import detect_bad_channels
from sort_assets.recordings.block_passes import compile_kernels
from sort_assets.recordings.dat_file import write_dat
from sort_assets.testing.ground_truth import make_probe

RATE_HZ = 30_000
GAIN_UV = 0.195
COPIED_AT_A_TIME = 1_000_000
SECONDS: dict[Size, dict[int, float]] = {"small": {64: 0.5}, "usual": {64: 30, 384: 10}, "full": {64: 60, 384: 60}}
"""Length of the recordings, by number of channels."""
ROUNDS: dict[Size, int] = {"small": 1, "usual": 3, "full": 5}
_CONFIG = RecordingConfig(bad_channels="none")
_USER_WAYS = ("SpikeInterface's save", "SpikeInterface's save, garbage frozen")
_FIRST_BLOCK = """
import time
import numpy as np
from spikeinterface.core import NumpyRecording
from sort_assets.recordings.band_pass import BandPassRecording
recording = BandPassRecording(NumpyRecording([np.zeros((1000, 16), dtype="int16")], 30_000))
begin = time.process_time()
recording.segments[0].read(0, 1000, slice(None), 1.0, 1)
print(time.process_time() - begin)
"""
_MEMORY = """
import sys
from pathlib import Path
from benchmarks.band_pass import open_raw, ours
ours(open_raw(Path(sys.argv[1]), int(sys.argv[2])), Path(sys.argv[3]))
# Not ru_maxrss, which begins with what the process had that started this one.
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""


def rows(size: Size) -> Iterator[Row]:
    """Megabytes per CPU second, ratios, memory, and what compiling takes."""
    with tempfile.TemporaryDirectory(prefix="sort_assets-band-pass-") as temporary:
        folder = Path(temporary)
        for channels, seconds in SECONDS[size].items():
            raw = folder / f"{channels}.bin"
            write_raw(raw, channels, seconds)
            yield from _compared(raw, channels, f"{seconds:g} s of {channels} channels", ROUNDS[size])
            yield from _bad_channels(raw, channels, 12 if size == "small" else channels)
            if size != "small" and channels == min(SECONDS[size]):
                yield _memory(folder, raw, channels)
            raw.unlink()
        if size != "small":
            yield from _neuropixels(folder)
            yield from _compiling(folder)


def write_raw(path: Path, channels: int, seconds: float) -> None:
    """A second of noise and slow potentials, again and again."""
    rng = np.random.default_rng(0)
    slow = 1000 * np.sin(np.arange(RATE_HZ) * (2 * np.pi * 8 / RATE_HZ))
    second = (rng.normal(0, 50, (RATE_HZ, channels)) + slow[:, None]).astype("int16")
    samples = round(seconds * RATE_HZ)
    with path.open("wb") as file:
        for start in range(0, samples, RATE_HZ):
            file.write(second[: samples - start].tobytes())


def open_raw(path: Path, channels: int) -> BaseRecording:
    """The raw file, of which 0.195 microvolts are a count."""
    return BinaryRecordingExtractor([path], RATE_HZ, "int16", channels, gain_to_uV=GAIN_UV, offset_to_uV=0.0)


def ours(raw: BaseRecording, target: Path) -> None:
    """What binary_dat does, in two threads."""
    write_dat(prepare(raw, _CONFIG), target, n_jobs=2)


def _with_spikeinterfaces_filter(raw: BaseRecording, target: Path) -> None:
    scaled = scale(raw, gain=GAIN_UV, dtype="float32")
    write_dat(bandpass_filter(scaled), target, n_jobs=2)


def _spikeinterface(raw: BaseRecording, target: Path) -> None:
    folder = target.with_suffix("")
    bandpass_filter(raw).save(folder=folder, n_jobs=1, chunk_duration="1s", progress_bar=False)
    shutil.rmtree(folder)


def _spikeinterface_frozen(raw: BaseRecording, target: Path) -> None:
    gc.collect()
    gc.freeze()
    try:
        _spikeinterface(raw, target)
    finally:
        gc.unfreeze()


def _copy(raw: BaseRecording, target: Path) -> None:
    source = raw.get_binary_description()["file_paths"][0]
    with Path(source).open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, COPIED_AT_A_TIME)
        writing.flush()
        os.fsync(writing.fileno())


WAYS: dict[str, Callable[[BaseRecording, Path], None]] = {
    "this project": ours,
    "this project with SpikeInterface's band-pass": _with_spikeinterfaces_filter,
    _USER_WAYS[0]: _spikeinterface,
    _USER_WAYS[1]: _spikeinterface_frozen,
    "copy": _copy,
}


def _compared(raw: Path, channels: int, what: str, rounds: int) -> Iterator[Row]:
    compile_kernels()
    recording = open_raw(raw, channels)
    megabytes = raw.stat().st_size / 1e6
    cpu_s: dict[str, list[float]] = {name: [] for name in WAYS}
    wall_s: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            target = raw.with_suffix(".dat")
            wall, before = time.perf_counter(), os.times()
            way(recording, target)
            after = os.times()
            wall_s[name].append(time.perf_counter() - wall)
            cpu_s[name].append(sum(after[:4]) - sum(before[:4]))
            target.unlink(missing_ok=True)
    usual_cpu_s = {name: max(0.01, statistics.median(times)) for name, times in cpu_s.items()}
    usual_wall_s = {name: statistics.median(times) for name, times in wall_s.items()}
    for name in WAYS:
        speed = [f"{megabytes / max(0.01, one):.0f}" for one in sorted(cpu_s[name])]
        aim = at_least(150) if name == "this project" else None
        note = f"{', '.join(speed)}; {megabytes / usual_wall_s[name]:.0f} MB per s by the clock"
        yield Row(f"{what}: {name}", megabytes / usual_cpu_s[name], "MB per CPU s", aim, note)
    times = usual_cpu_s[_USER_WAYS[0]] / usual_cpu_s["this project"]
    yield Row(f"{what}: beside {_USER_WAYS[0]}", times, "times as fast by the CPU", at_least(5))
    times = usual_wall_s["this project"] / usual_wall_s["copy"]
    note = "by the clock, which says something on a quiet machine only, as copying takes next to no CPU"
    yield Row(f"{what}: beside a copy", times, "x the copy's time", at_most(2.5), note)


def _neuropixels(folder: Path) -> Iterator[Row]:
    """The steps that the docs recommend for Neuropixels: all channels at one moment, and their median taken out."""
    raw = folder / "neuropixels.bin"
    write_raw(raw, 384, 3)
    recording = open_raw(raw, 384)
    recording.set_property("inter_sample_shift", np.tile(np.arange(12) / 13, 32))
    compile_kernels()
    mine = prepare(recording, _CONFIG.model_copy(update={"preprocessing": {"phase_shift": {}, "common_reference": {}}}))
    theirs = common_reference(bandpass_filter(phase_shift(scale(recording, gain=GAIN_UV, dtype="float32"))))
    what = "3 s of 384 channels with phase shift and common median"
    megabytes = raw.stat().st_size / 1e6
    for name, chain in (("this project", mine), ("this project with SpikeInterface's steps", theirs)):
        before = time.process_time()
        write_dat(chain, raw.with_suffix(".dat"), n_jobs=2)
        yield Row(f"{what}: {name}", megabytes / (time.process_time() - before), "MB per CPU s")


def _bad_channels(raw: Path, channels: int, compared: int) -> Iterator[Row]:
    """Looking for bad channels, which the platform does before it writes."""
    recording = open_raw(raw, channels)
    recording.set_probe(make_probe(channels))
    scaled = scale(recording, gain=GAIN_UV, dtype="float32").select_channels(recording.channel_ids[:compared])
    scaled.set_channel_gains(1.0)
    scaled.set_channel_offsets(0.0)
    used = []
    for look in (detect_bad_channels, _with_spikeinterface):
        before = time.process_time()
        look(scaled, 0)
        used.append(time.process_time() - before)
    note = f"{used[1]:.2f} CPU s by SpikeInterface's function, which finds the same"
    yield Row(f"look for bad ones among {compared} channels", used[0], "CPU s", None, note)
    yield Row(
        f"look for bad ones among {compared} channels, beside SpikeInterface",
        used[0] / used[1],
        "x its CPU",
        at_most(0.25),
    )


def _with_spikeinterface(scaled: BaseRecording, seed: int) -> None:
    preprocessing.detect_bad_channels(scaled, seed=seed, job_kwargs={"n_jobs": 1, "progress_bar": False})


def _memory(folder: Path, raw: Path, channels: int) -> Row:
    short = folder / "short.bin"
    with raw.open("rb") as file:
        short.write_bytes(file.read(raw.stat().st_size // 6 // (2 * channels) * 2 * channels))

    def peak_mb(path: Path) -> float:
        command = [sys.executable, "-c", _MEMORY, str(path), str(channels), str(folder / "memory.dat")]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    small, large = peak_mb(short), peak_mb(raw)
    megabytes = [file.stat().st_size / 1e6 for file in (short, raw)]
    note = f"{small:.0f} and {large:.0f} MB in all, for {megabytes[0]:.0f} and {megabytes[1]:.0f} MB of file"
    return Row(f"{channels} channels: memory for 6 times the length", large - small, "MB more", at_most(50), note)


def _compiling(folder: Path) -> Iterator[Row]:
    kept = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "compiled")}
    for name in ("first block on a fresh machine", "first block of a later process"):
        command = [sys.executable, "-c", _FIRST_BLOCK]
        output = subprocess.run(command, env=kept, capture_output=True, text=True, check=True).stdout
        yield Row(name, float(output), "CPU s", note="with the import of numba; `make install` compiles")
