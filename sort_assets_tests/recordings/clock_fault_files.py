"""Files of each format with a faulty clock, whose samples hold their own number, so that each can be recognised.

One file of each format is written as its program would; for each case a copy gets other samples and another clock.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from spikeinterface.core import BaseRecording, append_recordings

from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.clock_fault_times import TimeTrack, draw_times, to_times
from sort_assets_tests.recordings.clock_faults import (
    NUMBER_TRACKS,
    SAME_LENGTH_TRACKS,
    WRAPPING_TRACKS,
    NumberTrack,
    draw_numbers,
    plain,
)
from sort_assets_tests.recordings.writers import (
    write_intan,
    write_maxwell,
    write_open_ephys,
    write_spikeglx,
    write_spikeinterface_binary,
)

RATE_HZ = 30_000.0
SAMPLES = 76_800
"""2.56 s, in which 100 parts per million are 8 samples; whole blocks of Intan's."""
CHANNELS = 4
_LOW_BITS = 13
_SERIES = "acquisition/ElectricalSeries"


@dataclass(frozen=True)
class Truth:
    """When samples were, by the number that each holds.

    Attributes
    ----------
    times_s : np.ndarray
    runs : np.ndarray
        Which run a sample is of: nobody knows how much time was between two runs.
    """

    times_s: np.ndarray
    runs: np.ndarray

    @classmethod
    def of_times(cls, track: TimeTrack) -> Truth:
        """By true timestamps."""
        return cls(track.true_times_s, track.runs)

    @classmethod
    def of_numbers(cls, track: NumberTrack) -> Truth:
        """By true numbers, on the counter's own clock."""
        return cls(track.true_numbers / RATE_HZ, track.runs)

    @classmethod
    def of_one_run(cls, times_s: np.ndarray) -> Truth:
        """By times of which each is known."""
        return cls(times_s, np.zeros(len(times_s), np.int64))


@dataclass(frozen=True)
class ClockCase:
    """A file or folder, and when its samples really were.

    Attributes
    ----------
    kind : str
        What is wrong with its clock, or what is unusual.
    path : Path
    truth : Truth
    is_good : bool
        Whether it has to be read without a warning.
    is_rough : bool
        Whether it has to be read.
    held : np.ndarray
        The numbers that the samples of all its files hold, in their order.
    other_readings : tuple of Truth
        What its times may be instead if a warning says that two sources contradict each other.
    """

    kind: str
    path: Path
    truth: Truth
    is_good: bool
    is_rough: bool = False
    held: np.ndarray = field(default_factory=lambda: np.arange(SAMPLES))
    other_readings: tuple[Truth, ...] = ()


def encode(numbers: np.ndarray) -> np.ndarray:
    """Samples that hold their number, shape (samples, CHANNELS), int16."""
    samples = np.zeros((len(numbers), CHANNELS), dtype="<i2")
    samples[:, 0] = numbers % 2**_LOW_BITS
    samples[:, 1] = numbers // 2**_LOW_BITS
    return samples


def decode(samples: np.ndarray) -> np.ndarray:
    """The number that each sample holds, of unscaled samples."""
    return samples[:, 0].astype(np.int64) + samples[:, 1].astype(np.int64) * 2**_LOW_BITS


class FaultyFiles:
    """Writes cases of one format after the other.

    Parameters
    ----------
    folder : Path
        An empty folder for the files that are copied.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: BaseRecording = make_ground_truth(SAMPLES / RATE_HZ, CHANNELS, 0, RATE_HZ)[0]
        self._made: dict[str, Path] = {}

    def write(self, recording_format: str, seed: int, folder: Path) -> ClockCase:
        """Write a case into an empty folder; the same for the same seed."""
        rng = np.random.default_rng([seed, *recording_format.encode()])
        return WRITERS[recording_format](self, rng, folder)

    def template(self, name: str, write: Callable[[BaseRecording, Path], Path]) -> Path:
        """What a format's writer made of one recording, made once."""
        if name not in self._made:
            self._made[name] = write(self._whole, self._folder / name)
        return self._made[name]


def _nwb(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    times = draw_times(rng, SAMPLES, RATE_HZ)
    stated, kind, is_good, is_rough = times.times_s, times.kind, times.is_good, times.is_rough
    if rng.random() < 0.1:
        lost = int(rng.choice([1, rng.integers(1, 3000), SAMPLES // 2]))
        place = _place_of(rng, len(stated) - lost)
        stated, kind, is_good = np.delete(stated, np.s_[place : place + lost]), f"{kind}, missing times", False
        is_rough = False
    path = _copy_nwb(files, folder / "recording.nwb", np.arange(SAMPLES), times=stated, compressed=rng.random() < 0.5)
    return ClockCase(kind, path, Truth.of_times(times), is_good, is_rough)


def _place_of(rng: np.random.Generator, last: int) -> int:
    return int(rng.choice([0, max(last, 0), rng.integers(0, max(last, 1))]))


def _copy_nwb(
    files: FaultyFiles,
    path: Path,
    numbers: np.ndarray,
    *,
    times: np.ndarray | None = None,
    start_s: float | None = None,
    compressed: bool = False,
) -> Path:
    kind = "timed.nwb" if times is not None else "started.nwb"
    source = files.template(kind, lambda whole, at: write_nwb(whole, at, timestamps=times is not None))
    shutil.copy(source, path)
    with h5py.File(path, "a") as file:
        series = file[_SERIES]
        _replace(series, "data", encode(numbers))
        if times is not None:
            _replace(series, "timestamps", times, **({"compression": "gzip", "chunks": True} if compressed else {}))
        else:
            series["starting_time"][()] = start_s
    return path


def _replace(group: h5py.Group, name: str, values: np.ndarray, **storage: object) -> None:
    attributes = dict(group[name].attrs)
    del group[name]
    group.create_dataset(name, data=values, **storage).attrs.update(attributes)


def _spikeinterface(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    """A folder that SpikeInterface saved, with the time of each sample."""
    source = files.template("saved", _write_with_times)
    times = draw_times(rng, SAMPLES, RATE_HZ)
    path = folder / "saved"
    shutil.copytree(source, path)
    encode(np.arange(SAMPLES)).tofile(path / "traces_cached_seg0.raw")
    times.times_s.astype("float64").tofile(path / "times_cached_seg0.raw")
    return ClockCase(times.kind, path, Truth.of_times(times), times.is_good, times.is_rough)


def _write_with_times(whole: BaseRecording, at: Path) -> Path:
    timed = whole.clone()
    timed.set_times(np.arange(SAMPLES) / RATE_HZ)
    return write_spikeinterface_binary(timed, at)


def _open_ephys(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    source = files.template("session", lambda whole, at: write_open_ephys(whole, at, lfp=False))
    session = folder / "session"
    shutil.copytree(source, session)
    (stream,) = session.rglob("continuous/*")
    encode(np.arange(SAMPLES)).tofile(stream / "continuous.dat")
    luck = rng.random()
    if luck < 0.4:  # packets were lost: numbers and times tell the same
        numbers = draw_numbers(rng, SAME_LENGTH_TRACKS, SAMPLES)
        times = to_times(numbers, rng, RATE_HZ)
        _write_open_ephys_clock(stream, numbers.numbers, times.times_s)
        others = (Truth.of_numbers(numbers),)
        return ClockCase(times.kind, session, Truth.of_times(times), times.is_good, other_readings=others)
    if luck < 0.6:  # a stream that is not synchronized, or of a version before 0.6
        numbers = draw_numbers(rng, NUMBER_TRACKS, SAMPLES)
        times_s = np.full(len(numbers.numbers), float(rng.choice([-1.0, np.nan])))
        is_old = rng.random() < 0.5
        _write_open_ephys_clock(stream, numbers.numbers, None if is_old else times_s)
        kind = f"{numbers.kind}, {'integers alone' if is_old else 'not synchronized'}"
        at_the_end = numbers.kind == "missing numbers" and numbers.numbers[-1] < numbers.true_numbers[-1]
        return ClockCase(kind, session, Truth.of_numbers(numbers), numbers.is_good or at_the_end)
    good = plain(rng, SAMPLES)
    if luck < 0.85:  # the times alone are faulty
        times = draw_times(rng, SAMPLES, RATE_HZ)
        _write_open_ephys_clock(stream, good.numbers, times.times_s)
        kind = f"{times.kind}; the numbers are not"
        steps_s = np.arange(SAMPLES) / times.rate_hz
        unbroken = Truth.of_one_run(np.median(times.true_times_s - steps_s) + steps_s)
        others = (Truth.of_numbers(good), Truth.of_times(times))
        return ClockCase(kind, session, unbroken, times.is_good, times.is_rough, other_readings=others)
    numbers = draw_numbers(rng, SAME_LENGTH_TRACKS, SAMPLES)  # the numbers alone are faulty
    times = to_times(good, rng, RATE_HZ)
    _write_open_ephys_clock(stream, numbers.numbers, times.times_s)
    kind = f"{numbers.kind}; the times are not"
    others = (Truth.of_numbers(numbers),)
    return ClockCase(kind, session, Truth.of_times(times), numbers.is_good, other_readings=others)


def _write_open_ephys_clock(stream: Path, numbers: np.ndarray, times_s: np.ndarray | None) -> None:
    if times_s is None:
        (stream / "sample_numbers.npy").unlink()
        np.save(stream / "timestamps.npy", numbers.astype("<i8"))
        return
    np.save(stream / "sample_numbers.npy", numbers.astype("<i8"))
    np.save(stream / "timestamps.npy", times_s)


def _intan(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    """One file, or a file of each type of signal; the counter has 32 bits and a sign."""
    track = draw_numbers(rng, (*SAME_LENGTH_TRACKS, *WRAPPING_TRACKS, _triggered), SAMPLES)
    if rng.random() < 0.5:
        path = _write_intan_file(files, folder / "recording.rhd", track.numbers, np.arange(SAMPLES))
    else:
        source = files.template("types", lambda whole, at: write_intan(whole, at, layout="file_per_signal_type"))
        path = folder / "recording"
        shutil.copytree(source, path)
        encode(np.arange(SAMPLES)).tofile(path / "amplifier.dat")
        _to_32_bits(track.numbers).tofile(path / "time.dat")
    return ClockCase(track.kind, path, Truth.of_numbers(track), track.is_good)


def _triggered(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = np.arange(samples) - int(rng.integers(1, samples))
    return NumberTrack("trigger in between", numbers, numbers.astype(float), True, np.zeros(samples, np.int64))


def _to_32_bits(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.uint32).view("<i4")


def _write_intan_file(files: FaultyFiles, path: Path, numbers: np.ndarray, held: np.ndarray) -> Path:
    """Samples that hold some numbers, with the times of others; whole blocks of 128."""
    source = files.template("one.rhd", write_intan)
    block = np.dtype(
        [("time", "<i4", 128), ("amplifiers", "<u2", (CHANNELS, 128)), ("others", "u1", 3 * 32 * 2 + 2 + 128 * 2)]
    )
    content = source.read_bytes()
    header = len(content) - SAMPLES // 128 * block.itemsize
    blocks = np.frombuffer(content[header:], block)[: len(numbers) // 128].copy()
    blocks["time"] = _to_32_bits(numbers).reshape(-1, 128)
    blocks["amplifiers"] = encode(held).astype("<u2").reshape(-1, 128, CHANNELS).transpose(0, 2, 1)
    path.write_bytes(content[:header] + blocks.tobytes())
    return path


def _maxwell(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    source = files.template("chip.h5", write_maxwell)
    track = draw_numbers(rng, NUMBER_TRACKS, SAMPLES)
    path = folder / "recording.h5"
    shutil.copy(source, path)
    with h5py.File(path, "a") as file:
        routed = file["wells/well000/rec0000/groups/routed"]
        _replace(routed, "raw", encode(np.arange(SAMPLES)).T.astype("uint16"))
        routed["frame_nos"] = track.numbers.astype("uint64")
    return ClockCase(track.kind, path, Truth.of_numbers(track), track.is_good)


def _spikeglx(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    """Triggers cut out of one run, of which the .meta files say where they began."""
    counts = rng.integers(3000, SAMPLES // 4, int(rng.integers(1, 5)))
    start = int(rng.choice([0, rng.integers(0, 10**8)]))
    kinds = ("one after the other", "gap", "overlap", "leftover of an earlier run", "no firstSample", "fileTimeSecs")
    kind = str(rng.choice(kinds)) if len(counts) > 1 else str(rng.choice(["one", "fileTimeSecs"]))
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    faulty = int(rng.integers(1, len(counts))) if len(counts) > 1 else 0
    if kind == "gap":
        begins[faulty:] += int(rng.choice([1, rng.integers(1, 30_000)]))
    elif kind == "overlap":
        begins[faulty:] -= int(rng.integers(1, counts[faulty - 1]))
    stated = begins + start
    if kind == "leftover of an earlier run":
        counts[0] = min(counts[0], 3000)
        stated = stated + 0
        stated[0] += int(rng.integers(SAMPLES, 10**7))
    run = folder / "run_g0"
    source = files.template("run_g0", _write_triggers)
    for trigger, (count, begin, first) in enumerate(zip(counts, begins, stated, strict=True)):
        changed: dict[str, object] = {"fileTimeSecs": count / RATE_HZ, "firstSample": int(first)}
        if trigger == faulty and kind == "no firstSample":
            changed["firstSample"] = None
        if trigger == faulty and kind == "fileTimeSecs":
            changed["fileTimeSecs"] = count / RATE_HZ * float(rng.choice([0.5, 1.01, 2]))
        _write_trigger(source, run, trigger, begin + np.arange(count), changed)
    held = np.concatenate([begin + np.arange(count) for begin, count in zip(begins, counts, strict=True)])
    true_times, runs = (start + np.arange(2 * SAMPLES)) / RATE_HZ, np.zeros(2 * SAMPLES, np.int64)
    if kind == "leftover of an earlier run":
        true_times[: counts[0]] += (stated[0] - start) / RATE_HZ
        runs[: counts[0]] = 1
    if kind == "no firstSample":
        runs[begins[faulty] : begins[faulty] + counts[faulty]] = 1
    good = kind in ("one", "one after the other", "gap")
    return ClockCase(kind, run, Truth(true_times, runs), is_good=good, held=held)


def _write_triggers(whole: BaseRecording, at: Path) -> Path:
    return write_spikeglx(append_recordings([whole.frame_slice(0, 3000)] * 4), at, lf=False, sync=False)


def _write_trigger(source: Path, run: Path, trigger: int, held: np.ndarray, changed: Mapping[str, object]) -> None:
    folder = run / "run_g0_imec0"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"run_g0_t{trigger}.imec0.ap"
    encode(held).tofile(folder / f"{stem}.bin")
    meta = (source / "run_g0_imec0" / f"{stem}.meta").read_text()
    for name, value in {**changed, "fileSizeBytes": 2 * CHANNELS * len(held)}.items():
        meta = re.sub(rf"^{name}=.*\n", "" if value is None else f"{name}={value}\n", meta, flags=re.MULTILINE)
    (folder / f"{stem}.meta").write_text(meta)


def _concatenation(files: FaultyFiles, rng: np.random.Generator, folder: Path) -> ClockCase:
    """NWB or Intan files in a folder, as they were cut by time, or not related to each other."""
    blocks = rng.integers(20, 100, int(rng.integers(2, 5)))
    counts = blocks * 128
    kinds = (
        "one after the other",
        "gap between files",
        "each from zero",
        "overlap",
        "names in another order",
        "a file twice",
        "gap within a file",
    )
    kind = str(rng.choice(kinds))
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    faulty = int(rng.integers(1, len(counts)))
    start = int(rng.choice([0, rng.integers(0, 10**7)]))
    if kind == "gap between files":
        begins[faulty:] += int(rng.integers(1, 10**6))
    elif kind == "overlap":
        begins[faulty:] -= int(rng.integers(1, counts[faulty - 1]))
    elif kind == "a file twice":
        begins[faulty:], counts[faulty] = np.concatenate([[begins[faulty - 1]], begins[faulty:-1]]), counts[faulty - 1]
    stated = [start + begin + np.arange(count) for begin, count in zip(begins, counts, strict=True)]
    held = [number - start for number in stated]
    if kind == "gap between files":
        lost = held[faulty][0] - (held[faulty - 1][-1] + 1)
        held[faulty:] = [number - lost for number in held[faulty:]]
    true_numbers = np.arange(2 * SAMPLES, dtype=float) + start
    if kind == "gap between files":
        true_numbers[held[faulty][0] :] += lost
    elif kind == "each from zero":
        stated = [np.arange(count) for count in counts]
        true_numbers -= start
    elif kind == "names in another order":
        order = rng.permutation(len(counts))
        stated, held = [stated[index] for index in order], [held[index] for index in order]
        kind = kind if (np.diff(order) < 0).any() else "one after the other"
    elif kind == "gap within a file":
        place = int(rng.integers(1, counts[faulty]))
        lost = int(rng.integers(1, 10**5))
        stated[faulty] = np.where(np.arange(counts[faulty]) < place, stated[faulty], stated[faulty] + lost)
        stated[faulty + 1 :] = [number + lost for number in stated[faulty + 1 :]]
        true_numbers[held[faulty][place] :] += lost
    layout = str(rng.choice(["intan", "nwb", "nwb with times"]))
    ppm = float(rng.uniform(-20, 20)) if layout == "nwb with times" else 0.0
    folder = folder / "session"
    folder.mkdir()
    for index, (numbers, holds) in enumerate(zip(stated, held, strict=True)):
        if layout == "intan":
            _write_intan_file(files, folder / f"rat_240105_{index}.rhd", numbers, holds)
        elif layout == "nwb" and kind != "gap within a file":
            _copy_nwb(files, folder / f"part_{index}.nwb", holds, start_s=numbers[0] / RATE_HZ)
        else:
            times = numbers / (RATE_HZ * (1 + ppm * 1e-6))
            _copy_nwb(files, folder / f"part_{index}.nwb", holds, times=times)
    good = kind in ("one after the other", "gap between files", "each from zero")
    true_times = true_numbers / (RATE_HZ * (1 + ppm * 1e-6))
    truth = Truth.of_one_run(true_times)
    return ClockCase(f"{kind}, {layout}", folder, truth, is_good=good, held=np.concatenate(held))


WRITERS: dict[str, Callable[[FaultyFiles, np.random.Generator, Path], ClockCase]] = {
    "nwb": _nwb,
    "open_ephys": _open_ephys,
    "spikeglx": _spikeglx,
    "intan": _intan,
    "maxwell": _maxwell,
    "concatenation": _concatenation,
    "spikeinterface": _spikeinterface,
}

__all__ = ["RATE_HZ", "WRITERS", "ClockCase", "FaultyFiles", "Truth", "decode"]
