"""Whether expandable segments make room out of pieces: run once with them, and once without.

A share of the card is cut into tensors of many sizes, every second of them is given back, and one tensor is asked for
that is larger than any piece, but smaller than all that is free.
"""

import os

import torch

MIB = 2**20
ROOM_MIB = 8192
FILLED_MIB = 7680
LARGE_MIB = 3072


def main() -> None:
    """Print whether the large tensor fits."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, ROOM_MIB * MIB / total))
    # One segment, which is then cut into pieces: segments that are wholly free would be given back.
    whole = torch.empty(FILLED_MIB * MIB, dtype=torch.uint8, device="cuda")
    del whole
    held: list[torch.Tensor | None] = []
    for number in range(200):
        size = 32 + 8 * (number % 24)
        if torch.cuda.memory_allocated() // MIB + size > FILLED_MIB - 64:
            break
        held.append(torch.empty(size * MIB, dtype=torch.uint8, device="cuda"))
    for number in range(0, len(held), 2):
        held[number] = None
    free = ROOM_MIB - torch.cuda.memory_allocated() // MIB
    try:
        large = torch.empty(LARGE_MIB * MIB, dtype=torch.uint8, device="cuda")
        fits = large.numel() > 0
    except torch.OutOfMemoryError:
        fits = False
    setting = os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "torch's default")
    print(f"{setting}: {LARGE_MIB} MiB of {free} free MiB in pieces: {'fits' if fits else 'does not fit'}")


if __name__ == "__main__":
    main()
