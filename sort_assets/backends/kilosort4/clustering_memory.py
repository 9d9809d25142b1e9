"""Clustering in less memory, with the same result: Kilosort's assignments in blocks of spikes, and a centre on the CPU.

For each spike of a centre, `kilosort.clustering_qr.cluster` (4.1.7) holds its features, 204 bytes beside them, and at
the peak of `assign_iclust` three rows of 200 float32, one for each cluster that a spike may belong to: together about
2600 bytes and the features. No parameter changes that; fewer neighbours or spikes to compare with
(`cluster_neighbors`, `cluster_downsampling`, `max_cluster_subset`) save 3 % at most, and the latter two cost units in
quiet centres. Here, `assign_iclust` goes from block to block, whose size bounds it. The largest that remains is
`kmeans_plusplus` with two arrays of 100 float32 per spike, where Kilosort makes three and a copy of the features:
together about 1020 bytes and the features. `benchmarks/clustering_memory.py` measures both.

The results are equal bit by bit (tried on the CPU): rows are independent, what is added up are whole numbers, and every
other operation is the same on the same numbers, in place.

A centre that a GPU can't hold even so is clustered on the CPU, and only that one: the sort goes on. k-means then begins
from other random spikes than on the GPU, as every sort on the CPU does.
"""

from __future__ import annotations

import functools
import gc
import logging
import re
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sort_assets.backends.gpu_memory_report import read_memory_report
from sort_assets.backends.kilosort4.replaced_functions import Function, Replacement, replaced

_MODULE = "kilosort.clustering_qr"
SPIKES_PER_BLOCK = 2**14
"""Two arrays of 200 float32 for each: 26 MB."""
_CANDIDATES = 100
"""`kmeans_plusplus` tries as many spikes for each new cluster (`ntry`)."""
_MOST_TO_DRAW_FROM = 2**24
"""`torch.multinomial` draws from no more."""

_PROGRESS_EVERY_S = 60.0
"""Between lines in Kilosort's log: without them, a large centre is silent for longer than is tolerated of a sorter."""

_ON_THE_CPU = "The GPU's memory can't hold the centre of {} spikes: it is clustered on the CPU."
_ON_THE_CPU_IN_LOG = re.compile(re.escape(_ON_THE_CPU).replace(r"\{\}", r"(\d+)"))
_NO_MEMORY = re.compile(r"out of memory|_ALLOC_FAILED")


class _Progress:
    """Lines in Kilosort's log about a centre that takes long."""

    def __init__(self) -> None:
        self._log = logging.getLogger(_MODULE)
        self._said = time.monotonic()

    def say(self, spikes: int, what: str) -> None:
        """Log what is done with the spikes of the centre, if nothing was logged for a minute."""
        if time.monotonic() - self._said >= _PROGRESS_EVERY_S:
            self._log.debug(f"Centre of {spikes} spikes: {what}.")
            self._said = time.monotonic()


def _assign_iclust_in_blocks(_: Function) -> Function:
    import torch

    progress = _Progress()

    def assign_iclust(
        rows_neigh: Any,  # noqa: ARG001
        isub: Any,
        kn: Any,
        tones2: Any,
        nclust: Any,
        lam: float,
        m: Any,
        ki: Any,
        kj: Any,  # noqa: ARG001
        device: Any = None,  # noqa: ARG001
    ) -> Any:
        """The cluster of each spike: that of most of its neighbours, beyond what the clusters' sizes let expect."""
        clusters = int(nclust)
        sizes = torch.bincount(isub, minlength=clusters).to(tones2.dtype)
        iclust = torch.empty(kn.shape[0], dtype=torch.int64, device=kn.device)
        for block in _blocks(kn.shape[0]):
            progress.say(kn.shape[0], "they are assigned to clusters")
            neighbours = torch.zeros((kn[block].shape[0], clusters), dtype=tones2.dtype, device=kn.device)
            neighbours.scatter_add_(1, isub[kn[block]], tones2[block])
            if lam > 0:
                neighbours -= (ki[block].unsqueeze(-1) * sizes).mul_(lam / m)
            torch.argmax(neighbours, 1, out=iclust[block])
        return iclust

    return assign_iclust


def _assign_isub_in_blocks(_: Function) -> Function:
    import torch

    def assign_isub(
        iclust: Any,
        kn: Any,
        tones2: Any,
        nclust: Any,
        nsub: int,
        lam: float,
        m: Any,
        ki: Any,  # noqa: ARG001
        kj: Any,
        device: Any = None,  # noqa: ARG001
    ) -> Any:
        """The cluster of each spike that others are compared with."""
        clusters = int(nclust)
        neighbours = torch.zeros((nsub, clusters), dtype=tones2.dtype, device=kn.device)
        flat = neighbours.view(-1)
        for block in _blocks(kn.shape[0]):
            where = kn[block] * clusters + iclust[block].unsqueeze(-1)
            flat.index_add_(0, where.flatten(), tones2[block].flatten())
        if lam > 0:
            sizes = torch.bincount(iclust, minlength=clusters).to(tones2.dtype)
            for block in _blocks(nsub):
                neighbours[block] -= (kj[block].unsqueeze(-1) * sizes).mul_(lam / m)
        return torch.argmax(neighbours, 1)

    return assign_isub


def _kmeans_in_place(_: Function) -> Function:
    import numpy as np
    import torch
    from kilosort.clustering_qr import subsample_idx

    progress = _Progress()

    def kmeans_plusplus(Xg: Any, niter: int = 200, seed: int = 1, device: Any = None, verbose: bool = False) -> Any:  # noqa: N803, ARG001
        """A first cluster for each spike: each cluster begins with the spike, of some, that explains most."""
        total = torch.norm(Xg, 2, dim=1) ** 2
        spikes = total.shape[0]
        drawn_from = numbers = None
        if spikes > _MOST_TO_DRAW_FROM:
            drawn_from, numbers = subsample_idx(spikes, spikes - _MOST_TO_DRAW_FROM)
            numbers = torch.from_numpy(numbers).to(Xg.device)
        torch.manual_seed(seed)
        np.random.seed(seed)
        explained = torch.zeros(spikes, device=Xg.device)
        iclust = torch.zeros(spikes, dtype=torch.int, device=Xg.device)
        for cluster in range(niter):
            progress.say(spikes, f"k-means has begun {cluster} of {niter} clusters")
            rest = torch.relu(total - explained)
            if numbers is None:
                candidates = Xg[torch.multinomial(rest, _CANDIDATES)]
            else:
                candidates = Xg[numbers[torch.multinomial(rest[drawn_from], _CANDIDATES)]]
            # Twice the candidates instead of twice the features: the same products, without a copy of the features.
            by_each = Xg @ (2 * candidates).T
            by_each -= (candidates**2).sum(1)
            gained = (by_each - explained.unsqueeze(1)).relu_()
            best = torch.argmax(gained.sum(0))
            better = gained[:, best] > 0
            iclust[better] = cluster
            explained[better] = by_each[better, best]
            del by_each, gained
        return iclust

    return kmeans_plusplus


def _on_the_cpu_where_the_gpu_is_full(cluster: Function) -> Function:
    import torch

    log = logging.getLogger(cluster.__module__)

    @functools.wraps(cluster)
    def clustered(Xd: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N803
        try:
            return cluster(Xd, *args, **kwargs)
        except RuntimeError as error:
            text = str(error)
            if not _NO_MEMORY.search(text) or torch.device(kwargs.get("device", "cpu")).type == "cpu":
                raise
        # Outside of the handler, whose traceback holds the tensors. Torch had emptied its cache before it gave up.
        gc.collect()
        torch.cuda.empty_cache()
        report = read_memory_report(text)
        log.warning(_ON_THE_CPU.format(Xd.shape[0]) + (report.sentence if report is not None else ""))
        return cluster(Xd, *args, **{**kwargs, "device": torch.device("cpu")})

    return clustered


def _blocks(length: int) -> list[slice]:
    return [slice(start, start + SPIKES_PER_BLOCK) for start in range(0, length, SPIKES_PER_BLOCK)]


_IN_BLOCKS = (
    Replacement(
        _MODULE,
        "assign_iclust",
        ("rows_neigh", "isub", "kn", "tones2", "nclust", "lam", "m", "ki", "kj", "device"),
        _assign_iclust_in_blocks,
        source_sha256="8412d43274603613",
    ),
    Replacement(
        _MODULE,
        "assign_isub",
        ("iclust", "kn", "tones2", "nclust", "nsub", "lam", "m", "ki", "kj", "device"),
        _assign_isub_in_blocks,
        source_sha256="3df19bfa5453aac4",
    ),
    Replacement(
        _MODULE,
        "kmeans_plusplus",
        ("Xg", "niter", "seed", "device", "verbose"),
        _kmeans_in_place,
        source_sha256="e7c34840a221aa55",
    ),
    Replacement(
        _MODULE,
        "cluster",
        (
            *("Xd", "iclust", "kn", "nskip", "n_neigh", "max_sub"),
            *("nclust", "seed", "niter", "lam", "device", "verbose"),
        ),
        _on_the_cpu_where_the_gpu_is_full,
    ),
)


def clustering_in_less_memory() -> AbstractContextManager[bool]:
    """Let Kilosort cluster in less memory, for as long as this lasts."""
    return replaced(*_IN_BLOCKS, otherwise="Clustering takes the memory that Kilosort gives it.")


def centres_on_the_cpu(log_path: Path) -> list[int]:
    """Numbers of spikes of the centres that the GPU's memory could not hold, as Kilosort's log has them.

    Parameters
    ----------
    log_path : Path
        `kilosort4.log`.
    """
    if not log_path.is_file():
        return []
    log = log_path.read_text(encoding="utf-8", errors="replace")
    return [int(spikes) for spikes in _ON_THE_CPU_IN_LOG.findall(log)]
