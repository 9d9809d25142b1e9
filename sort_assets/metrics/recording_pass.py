"""One pass over the recording, batch after batch in file order, with the spikes shared among threads.

Each thread has units of its own and does their spikes in file order, so that results depend neither on the number of
threads nor on the length of the batches. A batch is read once for all of them, and the next one is read meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

READABLE_TYPES = ("int16", "float32")
"""Sample types of recordings that the loops over spikes are compiled for: those of a `.dat`."""
_PAGE_BYTES = 4096
# Below this part of the samples, it is faster to let the spikes alone fetch their pages.
_READ_AHEAD_FROM = 0.1


@dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes in file order.

    Attributes
    ----------
    samples, units, rows : np.ndarray
        Sample, index of the unit and place in the result of each, int64.
    """

    samples: np.ndarray
    units: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, chosen: slice | np.ndarray) -> Spikes:
        return Spikes(self.samples[chosen], self.units[chosen], self.rows[chosen])

    def between(self, start: int, stop: int) -> Spikes:
        """Those from one sample until before another."""
        first, last = np.searchsorted(self.samples, [start, stop])
        return self[int(first) : int(last)]

    def shared(self, shares: int) -> list[Spikes]:
        """In so many shares, all spikes of a unit in one of them, about equally many in each."""
        counts = np.bincount(self.units)
        share_of_unit, loads = np.zeros(len(counts), dtype=int), np.zeros(shares, dtype=int)
        for unit in np.argsort(-counts, kind="stable"):
            share_of_unit[unit] = loads.argmin()
            loads[share_of_unit[unit]] += counts[unit]
        share_of_spike = share_of_unit[self.units]
        return [self[share_of_spike == share] for share in range(shares) if loads[share]]


@dataclass(frozen=True, eq=False)
class Task:
    """What is done with the spikes.

    Attributes
    ----------
    spikes : Spikes
    before, after : int
        Samples of the recording that it needs before a spike's own, and from it on.
    run : callable
        Called with traces (samples, channels), the sample at which they begin, and spikes of one thread among them.
    """

    spikes: Spikes
    before: int
    after: int
    run: Callable[[np.ndarray, int, Spikes], None]


def can_be_read(recording: BaseRecording) -> bool:
    """Whether there are compiled loops for the samples of a recording, and it is in one segment."""
    return recording.get_num_segments() == 1 and np.dtype(recording.get_dtype()).name in READABLE_TYPES


def all_spikes(vector: np.ndarray, chosen: np.ndarray | None = None) -> Spikes:
    """The spikes of SpikeInterface's spike vector, or those at some places in it.

    Parameters
    ----------
    vector : np.ndarray
        With the fields `sample_index` and `unit_index`, in file order.
    chosen : np.ndarray or None
        Ascending places in the vector. Rows are counted among them.
    """
    some = vector if chosen is None else vector[chosen]
    samples, units = (np.ascontiguousarray(some[name], dtype="int64") for name in ("sample_index", "unit_index"))
    return Spikes(samples, units, np.arange(len(some)))


def read_once(recording: BaseRecording, tasks: Sequence[Task], job_kwargs: Mapping[str, Any]) -> None:
    """Do tasks while the recording is read from its beginning to its end.

    Parameters
    ----------
    recording : BaseRecording
        `can_be_read`.
    tasks : sequence of Task
        Done one after the other in each batch.
    job_kwargs : Mapping
        SpikeInterface's: `n_jobs` threads, `chunk_duration` seconds for each batch.
    """
    threads = max(1, int(job_kwargs.get("n_jobs", 1)))
    length = max(1, round(float(job_kwargs.get("chunk_duration", 1.0)) * recording.sampling_frequency))
    shares = [(task, task.spikes.shared(threads)) for task in tasks if len(task.spikes)]
    batches = _batches([task for task, _ in shares], length, recording.get_num_samples())
    if not batches:
        return
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(_read, recording, batches[0])
        for number, batch in enumerate(batches):
            traces = upcoming.result()
            if number + 1 < len(batches):
                upcoming = reader.submit(_read, recording, batches[number + 1])
            for task, of_threads in shares:
                started = [
                    pool.submit(task.run, traces, batch.low, some)
                    for some in (each.between(batch.start, batch.stop) for each in of_threads)
                    if len(some)
                ]
                for each in started:
                    each.result()


@dataclass(frozen=True)
class _Batch:
    """Spikes from `start` until before `stop`, for which `low` to `high` are read."""

    start: int
    stop: int
    low: int
    high: int
    coverage: float


def _batches(tasks: Sequence[Task], length: int, num_samples: int) -> list[_Batch]:
    """Those that hold spikes, each only as far as its spikes need."""
    found = []
    for start in range(0, num_samples, length):
        stop = min(start + length, num_samples)
        low, high, covered = num_samples, 0, 0
        for task in tasks:
            some = task.spikes.between(start, stop).samples
            if len(some):
                low = min(low, int(some[0]) - task.before)
                high = max(high, int(some[-1]) + task.after)
                covered += len(some) * (task.before + task.after)
        if low < high:
            low, high = max(0, low), min(high, num_samples)
            found.append(_Batch(start, stop, low, high, covered / (high - low)))
    return found


def _read(recording: BaseRecording, batch: _Batch) -> np.ndarray:
    traces = np.ascontiguousarray(recording.get_traces(start_frame=batch.low, end_frame=batch.high)).view()
    # Compiled once: a mapped file is read-only, an array is not.
    traces.flags.writeable = False
    if batch.coverage >= _READ_AHEAD_FROM:
        # Of a mapped file nothing is read until somebody looks at it.
        traces.reshape(-1)[:: max(1, _PAGE_BYTES // traces.itemsize)].max(initial=0)
    return traces
