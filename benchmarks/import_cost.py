"""How long importing the code location takes, beside importing Dagster alone.

    python benchmarks/import_cost.py

The UI, the daemon and every run import `sort_assets.definitions` again. Prints seconds of the processor's time of each
pair of fresh processes, and the median of the ratios. Both import compiled bytecode, as an installation does. Where the
time goes, `python -X importtime -c "import sort_assets.definitions"` shows.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

PAIRS = 9


def main() -> None:
    """Print each pair and the median."""
    ratios = []
    for ours, dagsters in measured_pairs(PAIRS):
        ratios.append(ours / dagsters)
        print(f"sort_assets.definitions {ours:.3f} s, dagster {dagsters:.3f} s, ratio {ratios[-1]:.2f}")
    print(f"median of {PAIRS} ratios: {statistics.median(ratios):.2f}")


def measured_pairs(number: int) -> Iterator[tuple[float, float]]:
    """Seconds of both imports, one after the other, so that both find the machine in the same state."""
    import_seconds("sort_assets.definitions")  # leaves the bytecode
    for _ in range(number):
        yield import_seconds("sort_assets.definitions"), import_seconds("dagster")


def import_seconds(module: str) -> float:
    """Time of the processor, not of the clock, which on a busy machine measures the others."""
    code = f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


if __name__ == "__main__":
    main()
