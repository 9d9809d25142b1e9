"""Works on the GPU in one of three ways, for the watchdogs to judge; ends by itself after some minutes."""

import ctypes
import sys
import time

import torch

BLOCKING_SYNC = 4  # cudaDeviceScheduleBlockingSync
CYCLES_OF_A_SECOND = 2_000_000_000
CYCLES_OF_HALF_A_MINUTE = 2**36
IDLE_S = 600


def main() -> None:
    """Say that CUDA has started, and work: "blocking" (the CPU sleeps meanwhile), "endless" (one kernel), "silent"."""
    how = sys.argv[1]
    if how == "blocking":
        ctypes.CDLL(f"libcudart.so.{str(torch.version.cuda).split('.')[0]}").cudaSetDeviceFlags(BLOCKING_SYNC)
    torch.zeros(1, device="cuda")
    print("ready", flush=True)
    started = time.monotonic()
    while how == "blocking" and time.monotonic() - started < IDLE_S:
        torch.cuda._sleep(CYCLES_OF_A_SECOND)
        torch.cuda.synchronize()
    if how == "endless":
        torch.cuda._sleep(CYCLES_OF_HALF_A_MINUTE)
        torch.cuda.synchronize()
    time.sleep(IDLE_S)


if __name__ == "__main__":
    main()
