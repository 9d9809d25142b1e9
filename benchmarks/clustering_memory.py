"""What Kilosort's clustering holds per spike of a centre, and which units it finds, for each cure of out-of-memory.

    python -m benchmarks.clustering_memory
    python -m benchmarks.clustering_memory --device cuda --spikes 200000 --features 120 --ways Kilosort "in blocks"

The first table: bytes that are allocated at the peak for each spike, beside its features (4 bytes each). On the CPU
they are counted by torch's profiler, which reports each allocation, what operations hold inside of them too; there,
the copies of features and neighbours that a GPU would hold are added. On a GPU it is torch's own maximum.

The second table: units found, of those that are there, in centres of 2000 and 5000 spikes that are sorted with one of
20000, by Kilosort's own functions, splitting included. A parameter that is lowered for the crowded centre is lowered
for all.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from kilosort import clustering_qr, hierarchical, swarmsplitter
from torch.autograd.profiler import profile

from benchmarks.rows import Row, Size, at_most
from sort_assets.backends.kilosort4.clustering_memory import clustering_in_less_memory

NEIGHBOURS = 10
CENTRES = ((2000, 5), (5000, 10), (20_000, 10))
"""Spikes and units."""
Found = tuple[np.ndarray, np.ndarray, Any, torch.Tensor]
WAYS: dict[str, tuple[dict[str, Any], Callable[[], AbstractContextManager[Any]]]] = {
    "Kilosort": ({}, nullcontext),
    "downsampling 40, subset 12500": ({"nskip": 40, "max_sub": 12_500}, nullcontext),
    "downsampling 80, subset 6250": ({"nskip": 80, "max_sub": 6250}, nullcontext),
    "5 neighbours": ({"n_neigh": 5}, nullcontext),
    "downsampling 1, no subset": ({"nskip": 1, "max_sub": None}, nullcontext),
    "in blocks": ({}, clustering_in_less_memory),
    "in blocks, downsampling 1, no subset": ({"nskip": 1, "max_sub": None}, clustering_in_less_memory),
    "in blocks, other random spikes": ({"seed": 2}, clustering_in_less_memory),
}


def centre(spikes: int, units: int, features: int, seed: int = 0) -> torch.Tensor:
    """Features of spikes around one place: shape (spikes, features), of units that are well apart, in random order."""
    rng = np.random.default_rng(seed)
    units_features = 4 * rng.standard_normal((units, features))
    of_unit = rng.integers(units, size=spikes)
    return torch.from_numpy((units_features[of_unit] + rng.standard_normal((spikes, features))).astype(np.float32))


def cluster(features: torch.Tensor, device: torch.device, *, niter: int = 200, **params: Any) -> Found:
    """Kilosort's clustering of a centre, with its parameters unless others are given."""
    usual = {"nskip": 20, "n_neigh": NEIGHBOURS, "max_sub": 25_000, "seed": 1}
    found: Found = clustering_qr.cluster(features, lam=1, niter=niter, device=device, **(usual | params))
    return found


def peak_bytes_per_spike(run: Callable[[], Found], features: torch.Tensor) -> tuple[Found, float]:
    """What a function returns, and what it held at its peak on the device, for each spike of a centre.

    Parameters
    ----------
    run : callable
        Clusters the centre.
    features : torch.Tensor
        Of shape (spikes, features).
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        found = run()
        return found, (torch.cuda.max_memory_allocated() - before) / len(features)
    # torch.profiler.profile would import torch's compiler first, for seconds.
    with profile(profile_memory=True) as profiled:
        found = run()
    held = most = 0
    for event in profiled.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    # On the CPU, the features and the numbers of the neighbours are not copied to the device, and what numpy counted
    # of each spike is not either.
    copied = features.nbytes + len(features) * (8 * NEIGHBOURS + 4)
    return found, (most + copied) / len(features)


def units_found(features: torch.Tensor, device: torch.device, **params: Any) -> int:
    """How many units Kilosort makes of a centre: clusters, their tree, and its splits."""
    iclust, iclust0, neighbours, _ = cluster(features, device, **params)
    tree, statistics, clusters = hierarchical.maketree(neighbours, iclust, iclust0)
    tree, statistics = swarmsplitter.split(features.numpy(), tree, statistics, iclust, clusters, meta=None)
    return int(swarmsplitter.new_clusters(iclust, clusters, tree, statistics).max()) + 1


def rows(size: Size) -> Iterator[Row]:
    """How much less the clustering holds when it is done in blocks, with the same clusters; not in the usual run."""
    if size == "usual":
        return
    spikes = 60_000 if size == "full" else 4000
    crowded = centre(spikes, units=40, features=60)
    held, found = {}, {}
    for name in ("Kilosort", "in blocks"):
        params, replaced = WAYS[name]
        with replaced(), _quietly():
            run = partial(cluster, crowded, torch.device("cpu"), niter=5, **params)
            found[name], peak = peak_bytes_per_spike(run, crowded)
        held[name] = peak - 4 * crowded.shape[1]
    same = np.array_equal(found["Kilosort"][0], found["in blocks"][0])
    note = f"{held['in blocks']:.0f} by {held['Kilosort']:.0f} bytes beside the features"
    what = f"memory per spike of clustering in blocks, {spikes} spikes"
    yield Row(what, held["in blocks"] / held["Kilosort"], "x Kilosort's", None, note)
    yield Row("clusters that differ when it is done in blocks", 0.0 if same else 1.0, "0 or 1", at_most(0))


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse invariant checks")
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        yield


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments.add_argument("--spikes", type=int, default=60_000, help="of the centre whose memory is measured")
    arguments.add_argument("--features", type=int, default=60, help="of each spike")
    arguments.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="rows of the tables")
    arguments.add_argument("--memory-only", action="store_true", help="leave out the table of the units")
    asked = arguments.parse_args()
    warnings.filterwarnings("ignore", message="Sparse invariant checks")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    device = torch.device(asked.device)
    crowded = centre(asked.spikes, units=40, features=asked.features)

    print(f"{asked.spikes} spikes of {asked.features} features on {device}: bytes per spike, beside its features")
    first: Found | None = None
    for name in asked.ways:
        params, replaced = WAYS[name]
        with replaced():
            started = time.perf_counter()
            found, held = peak_bytes_per_spike(partial(cluster, crowded, device, niter=5, **params), crowded)
            took = time.perf_counter() - started
        first = first or found
        same = np.array_equal(first[0], found[0]) and np.array_equal(first[1], found[1])
        said = "the same clusters" if same else f"{int(found[0].max()) + 1} clusters"
        print(f"{name:38} {held - 4 * asked.features:6.0f}   {said:18} {took:5.1f} s", flush=True)
    if device.type == "cuda":
        print(f"most reserved by torch: {torch.cuda.max_memory_reserved() / asked.spikes:.0f} bytes per spike")
    if asked.memory_only:
        return

    print("\nunits found, of those that are there")
    print(" " * 38, *(f"{f'{units} in {spikes}':>12}" for spikes, units in CENTRES))
    for name in asked.ways:
        params, replaced = WAYS[name]
        if "max_sub" in params and params["max_sub"] is None:
            continue  # to compare 20000 spikes with all of them takes many minutes
        with replaced():
            counts = [units_found(centre(n, units, asked.features), device, **params) for n, units in CENTRES]
        print(f"{name:38}", *(f"{count:12}" for count in counts), flush=True)


if __name__ == "__main__":
    main()
