"""Provokes failures of CUDA, one in each process, and prints their text and what the classifier makes of it."""

import argparse
import subprocess
import sys
from collections.abc import Callable

import torch

LIMIT_S = 40
MIB = 2**20


def fill(leave_mib: int) -> list[torch.Tensor]:
    """Hold the GPU's memory but for some MiB."""
    torch.zeros(1, device="cuda")
    held = []
    for step in (4096, 512, 64, 8):
        while torch.cuda.mem_get_info()[0] > (leave_mib + step) * MIB:
            try:
                held.append(torch.empty(step * MIB, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                break
    return held


def full_for_all_but(use: Callable[[torch.Tensor], object], num_bytes: int) -> None:
    """Use a piece of memory that is held, when libraries find none for themselves."""
    held = fill(leave_mib=2)
    use(held[-1][:num_bytes].view(torch.float32))


def of_one_percent() -> None:
    """What torch says when this process may not have more."""
    torch.cuda.set_per_process_memory_fraction(0.01)
    torch.empty(2**30, device="cuda")


def plain() -> None:
    """What torch says when the card is full."""
    held = fill(leave_mib=400)
    torch.empty(2**30, device="cuda")
    del held


def quietly(work: Callable[[], object], otherwise: str) -> None:
    """Do what may not be an error on CUDA."""
    work()
    torch.cuda.synchronize()
    print(f"no error: {otherwise}")


FAILURES: dict[str, Callable[[], object]] = {
    "out of memory": plain,
    "out of memory, of a hundredth": of_one_percent,
    "out of memory, more than there is": lambda: torch.empty(2**58, device="cuda"),
    "cublas": lambda: full_for_all_but(lambda x: x.reshape(64, 64) @ x.reshape(64, 64), 4 * 64**2),
    "cufft": lambda: full_for_all_but(torch.fft.fft, 4 * MIB),
    "cusolver": lambda: full_for_all_but(lambda x: torch.linalg.svd(x.reshape(32, 32)), 4 * 32**2),
    "cudnn": lambda: full_for_all_but(
        lambda x: torch.nn.functional.conv1d(x.reshape(1, 16, -1), torch.ones(1, 16, 3, device="cuda")), 4 * MIB
    ),
    "NaN in svd": lambda: quietly(
        lambda: torch.linalg.svd(torch.full((32, 32), float("nan"), device="cuda")), "NaN goes through svd"
    ),
    "NaN in multinomial": lambda: torch.multinomial(torch.full((1000,), float("nan"), device="cuda"), 10),
    "zeros in multinomial": lambda: quietly(
        lambda: torch.multinomial(torch.zeros(1000, device="cuda"), 10), "weights of zero are drawn"
    ),
    "index out of bounds": lambda: quietly(
        lambda: torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")], "an index beyond the end is read"
    ),
}


def classify(text: str) -> str:
    """What the classifier makes of a traceback, and what follows."""
    from sort_assets.backends.failure_classification import classify
    from sort_assets.backends.failure_rules import Evidence
    from sort_assets.backends.kilosort4.failures import FAILURE_RULES
    from sort_assets.config import ExecutionConfig
    from sort_assets.errors import OutOfMemoryError
    from sort_assets.platform.pipeline.retries import decide_retry

    evidence = Evidence(text=text, stage="spike detection", device="cuda")
    error = classify(evidence, sorter="kilosort4", rules=FAILURE_RULES)
    decision = decide_retry(error, [], ExecutionConfig(), reduced=isinstance(error, OutOfMemoryError))
    again = f"again, after {decision.wait_s:g} s" if decision.retry else "not again"
    return f"{type(error).__name__} ({again}): {error.message[:200]}"


def main() -> None:
    """Provoke one, or each in a process of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("failure", nargs="?", choices=FAILURES)
    asked = arguments.parse_args()
    if asked.failure is not None:
        FAILURES[asked.failure]()
        return
    for name in FAILURES:
        try:
            done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            print(f"{name}: no end after {LIMIT_S} s", flush=True)
            continue
        lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
        print(f"{name}: {lines[-1][:420] if lines else f'exit status {done.returncode}, no text'}")
        if done.returncode:
            print("   ->", classify(done.stderr), flush=True)


if __name__ == "__main__":
    main()
