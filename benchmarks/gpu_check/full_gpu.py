"""A centre that the GPU can't hold is clustered on the CPU: how long both take, and how many clusters they find."""

import logging
import os
import time

import torch

from benchmarks.clustering_memory import centre, cluster
from sort_assets.backends.kilosort4.clustering_memory import clustering_in_less_memory

SPIKES, FEATURES = (100_000, 60) if os.environ["DEV"] == "cuda" else (3000, 12)
ROOM_BYTES = 60_000_000


def main() -> None:
    """Cluster twice: with the whole GPU, and with less of it than the centre needs."""
    logging.basicConfig(format="%(message)s")
    device = torch.device(os.environ["DEV"])
    features = centre(SPIKES, units=10, features=FEATURES)
    with clustering_in_less_memory() as replaced:
        print("functions replaced:", replaced)
        for room in ("whole GPU", f"{ROOM_BYTES / 1e6:.0f} MB of the GPU"):
            if room != "whole GPU" and device.type == "cuda":
                total = torch.cuda.get_device_properties(0).total_memory
                torch.cuda.empty_cache()
                torch.cuda.set_per_process_memory_fraction(ROOM_BYTES / total)
            started = time.perf_counter()
            found, *_ = cluster(features, device)
            print(f"{room}: {int(found.max()) + 1} clusters in {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
