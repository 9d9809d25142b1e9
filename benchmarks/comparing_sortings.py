"""What a comparison of two sortings costs: 500 against 500 units of 10 Hz over an hour, and memory beyond the spikes.

python -m benchmarks.bench comparing_sortings
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from spikeinterface.core import BaseSorting

from benchmarks.rows import Row, Size, at_most
from sort_assets.comparisons.coincidences import numpy_sorting
from sort_assets.comparisons.sortings import ComparedSorting, compare_sortings

_HZ, _RATE_HZ, _SEED = 30_000.0, 10.0, 0
_SHAPES: dict[Size, tuple[int, float]] = {"small": (20, 60.0), "usual": (500, 3600.0), "full": (500, 3600.0)}
"""By size, units and seconds."""


def rows(size: Size) -> Iterator[Row]:
    """Seconds and memory of a comparison; of an hour in the usual size."""
    units, seconds = _SHAPES[size]
    old = _generated(units, seconds)
    new = _sorted_again(old, units)
    lengths = [ComparedSorting(sorting, seconds) for sorting in (old, new)]
    few = [ComparedSorting(_generated(2, 1.0), 1.0)] * 2
    compare_sortings(*few)  # compiles, in a fresh installation
    for sorting in (old, new):
        sorting.to_spike_vector(concatenated=False)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before_mb = _peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    found = compare_sortings(*lengths)
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    name = f"comparing {units} with {units} units of {_RATE_HZ:g} Hz over {seconds:g} s"
    spikes = sum(len(sorting.to_spike_vector()) for sorting in (old, new))
    yield Row(name, took_s, "s", at_most(20.0), f"{spikes:,} spikes, {cpu_s:.1f} CPU s; {found.counts}")
    beyond = max(_peak_mb() - before_mb, 0.0)
    yield Row(
        f"{name}: memory",
        beyond,
        "MB beyond the spikes",
        at_most(600.0),
        f"{before_mb:.0f} MB before, of which the spikes are {24 * spikes / 1e6:.0f}",
    )


def _generated(units: int, seconds: float) -> BaseSorting:
    rng = np.random.default_rng(_SEED)
    spikes = rng.poisson(units * _RATE_HZ * seconds)
    frames = rng.integers(0, int(seconds * _HZ), spikes)
    return numpy_sorting([frames], [rng.integers(0, units, spikes)], np.arange(units), _HZ)


def _sorted_again(sorting: BaseSorting, units: int) -> BaseSorting:
    """Jittered, with each tenth unit split, each tenth merged into its neighbour, and each tenth made of noise."""
    rng = np.random.default_rng(_SEED + 1)
    spikes = sorting.to_spike_vector()
    frames = spikes["sample_index"] + rng.integers(-5, 6, len(spikes))
    names = spikes["unit_index"].astype(np.int64)
    tenth = names % 10
    names = np.where((tenth == 1) & (rng.random(len(names)) < 0.4), units + names // 10, names)
    names = np.where(tenth == 2, names + 1, names)
    frames = np.where(tenth == 5, rng.integers(0, int(spikes["sample_index"].max()), len(names)), frames)
    present, indices = np.unique(names, return_inverse=True)
    return numpy_sorting([np.maximum(frames, 0)], [indices], present, sorting.get_sampling_frequency())


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
