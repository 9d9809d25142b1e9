"""Another program that holds the GPU's memory but for some MiB; ends by itself after some minutes."""

import os
import sys
import time

import torch

MIB = 2**20
HELD_S = 300


def main() -> None:
    """Hold it."""
    torch.zeros(1, device="cuda")
    leave, held = int(sys.argv[1]) * MIB, []
    for step in (4096 * MIB, 256 * MIB, 16 * MIB):
        while torch.cuda.mem_get_info()[0] > leave + step:
            held.append(torch.empty(step, dtype=torch.uint8, device="cuda"))
    print("process", os.getpid(), "leaves", torch.cuda.mem_get_info()[0] // MIB, "MiB", flush=True)
    time.sleep(HELD_S)


if __name__ == "__main__":
    main()
