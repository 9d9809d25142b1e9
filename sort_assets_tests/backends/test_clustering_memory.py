"""Kilosort clusters in less memory, and finds the same; a centre that a GPU can't hold goes to the CPU."""

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sort_assets.backends.kilosort4 import clustering_memory
from sort_assets.backends.kilosort4.clustering_memory import centres_on_the_cpu, clustering_in_less_memory
from sort_assets.backends.kilosort4.memory_needed import CLUSTERING_SPIKE_BYTES

pytestmark = pytest.mark.slow

SPIKES, FEATURES = 12_000, 12
SPIKES_PER_BLOCK = 2048
BEGUN = 5
"""Clusters that k-means begins; for each of 200 it would take as long again."""

FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 312.00 MiB is "
    "free. Process 4711 has 17.90 GiB memory in use. Including non-PyTorch memory, this process has 5.42 GiB memory in "
    "use."
)


def centre(spikes: int, units: int) -> Any:
    """Features of the spikes of one centre. Torch and Kilosort are imported by the tests that run."""
    from benchmarks.clustering_memory import centre

    return centre(spikes, units=units, features=FEATURES)


def cluster(features: Any, device: str = "cpu") -> Any:
    import torch
    from kilosort import clustering_qr

    device = torch.device(device)
    return clustering_qr.cluster(features, nskip=20, n_neigh=10, max_sub=25000, lam=1, seed=1, niter=3, device=device)


def begin_clusters(features: Any) -> Any:
    import torch
    from kilosort import clustering_qr

    return clustering_qr.kmeans_plusplus(features, niter=BEGUN, device=torch.device("cpu"))


def cluster_of_few(features: Any) -> Any:
    import torch
    from kilosort import clustering_qr

    begun = begin_clusters(features)
    more = begun.long() + BEGUN * (torch.arange(len(begun)) % 40)  # 200 clusters, as Kilosort has them
    return clustering_qr.cluster(features, iclust=more, nskip=20, lam=1, niter=3, device=torch.device("cpu"))


def test_the_same_clusters_are_found_in_a_third_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.clustering_memory import peak_bytes_per_spike

    monkeypatch.setattr(clustering_memory, "SPIKES_PER_BLOCK", SPIKES_PER_BLOCK)
    features = centre(SPIKES, units=10)

    found, usual = peak_bytes_per_spike(lambda: cluster_of_few(features), features)
    with clustering_in_less_memory() as replaced:
        found_in_blocks, bounded = peak_bytes_per_spike(lambda: cluster_of_few(features), features)

    assert replaced
    for one, other in zip(found, found_in_blocks, strict=True):
        assert np.array_equal(_dense(one), _dense(other))
    assert usual - 4 * FEATURES == pytest.approx(2630, rel=0.02)
    assert bounded - 4 * FEATURES <= CLUSTERING_SPIKE_BYTES


@pytest.mark.release
def test_a_centre_that_takes_long_says_so_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clustering_memory, "_PROGRESS_EVERY_S", 0.0)

    with caplog.at_level(logging.DEBUG), clustering_in_less_memory():
        cluster_of_few(centre(1000, units=3))

    assert "Centre of 1000 spikes: k-means has begun 4 of 5 clusters." in caplog.messages
    assert "Centre of 1000 spikes: they are assigned to clusters." in caplog.messages


@pytest.mark.release
def test_of_more_spikes_than_torch_draws_from_some_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering_memory, "_MOST_TO_DRAW_FROM", 700)

    with clustering_in_less_memory():
        begun = begin_clusters(centre(1000, units=3))

    assert len(begun) == 1000
    assert 3 <= len(np.unique(begun)) <= BEGUN


def test_a_centre_that_the_gpu_can_t_hold_is_clustered_on_the_cpu_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch
    from kilosort import clustering_qr

    features = centre(1000, units=3)
    on_the_cpu = cluster(features)
    kilosorts = clustering_qr.cluster

    @functools.wraps(kilosorts)
    def full(*args: Any, **kwargs: Any) -> Any:  # in place of a GPU
        if kwargs["device"].type == "cuda":
            raise torch.OutOfMemoryError(FULL)
        return kilosorts(*args, **kwargs)

    monkeypatch.setattr(clustering_qr, "cluster", full)
    log_path = tmp_path / "kilosort4.log"

    with caplog.at_level(logging.WARNING), clustering_in_less_memory():
        found = cluster(features, "cuda")
    log_path.write_text("\n".join(caplog.messages))

    assert np.array_equal(found[0], on_the_cpu[0])
    assert centres_on_the_cpu(log_path) == [1000]
    assert "(process 4711) hold 17.9 of the card's 23.6 GiB" in caplog.text
    assert "out of memory" not in caplog.text.lower()  # what would be read as the cause of another failure


def test_other_errors_of_the_gpu_are_not_answered_on_the_cpu() -> None:
    features = centre(1000, units=3)

    # Torch for the CPU has no GPU; torch for CUDA without one raises RuntimeError.
    with clustering_in_less_memory(), pytest.raises((AssertionError, RuntimeError), match=r"(?i)cuda|nvidia"):
        cluster(features, "cuda:99")


def _dense(found: Any) -> np.ndarray:
    return found.toarray() if hasattr(found, "toarray") else np.asarray(found)
