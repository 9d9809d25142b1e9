"""How long importing the code location takes, beside importing Dagster alone.

    python benchmarks/import_cost.py

The UI, the daemon and every run import `sort_assets.definitions` again. Prints seconds of the processor's time of each
pair of fresh processes, and the median of the ratios. Where the time goes, `python -X importtime -c "import
sort_assets.definitions"` shows.
"""

import statistics
import subprocess
import sys

PAIRS = 9


def main() -> None:
    """Measure pairs one after the other, so that both halves of a pair find the machine in the same state."""
    ratios = []
    for _ in range(PAIRS):
        ours, dagsters = import_seconds("sort_assets.definitions"), import_seconds("dagster")
        ratios.append(ours / dagsters)
        print(f"sort_assets.definitions {ours:.3f} s, dagster {dagsters:.3f} s, ratio {ratios[-1]:.2f}")
    print(f"median of {PAIRS} ratios: {statistics.median(ratios):.2f}")


def import_seconds(module: str) -> float:
    """Time of the processor, not of the clock, which on a busy machine measures the others."""
    code = f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
