"""How long importing the code location takes, beside importing Dagster alone.

    python benchmarks/import_cost.py

The UI, the daemon and every run import `sort_assets.definitions` again. Prints seconds of the processor's time of each
pair of fresh processes, and the ratio of the fastest: what takes longer was held up by others, as Python's `timeit`
says of its repetitions. Both import compiled bytecode, as an installation does. Where the time goes,
`python -X importtime -c "import sort_assets.definitions"` shows.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator

PAIRS = 9


def main() -> None:
    """Print each pair and the ratio."""
    pairs = []
    for ours, dagsters in measured_pairs(PAIRS):
        pairs.append((ours, dagsters))
        print(f"sort_assets.definitions {ours:.3f} s, dagster {dagsters:.3f} s")
    print(f"ratio of the fastest of {PAIRS}: {ratio_of_fastest(pairs):.2f}")


def ratio_of_fastest(pairs: Iterable[tuple[float, float]]) -> float:
    """The shortest import of the definitions, by the shortest of Dagster."""
    ours, dagsters = zip(*pairs, strict=True)
    return min(ours) / min(dagsters)


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
