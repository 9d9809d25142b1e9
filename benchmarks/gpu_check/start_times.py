"""How long a sorter's process takes until it can compute: imports, CUDA, the first product."""

import os
import time
from itertools import pairwise


def main() -> None:
    """Print the seconds of each."""
    times = [time.perf_counter()]
    import torch

    times.append(time.perf_counter())
    import spikeinterface.sorters  # noqa: F401

    times.append(time.perf_counter())
    import kilosort.run_kilosort  # noqa: F401

    times.append(time.perf_counter())
    device = os.environ["DEV"]
    torch.zeros(1, device=device)
    times.append(time.perf_counter())
    square = torch.ones(64, 64, device=device)
    (square @ square).sum().item()
    times.append(time.perf_counter())
    names = ("import torch", "spikeinterface", "kilosort", "start of CUDA", "first matrix product")
    took = (after - before for before, after in pairwise(times))
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in zip(names, took, strict=True)))


if __name__ == "__main__":
    main()
