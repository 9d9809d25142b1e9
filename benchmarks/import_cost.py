"""How much longer importing the code location takes than importing Dagster alone.

    python -m benchmarks.bench import_cost

The UI, the daemon and every run import `sort_assets.definitions` again. Each fresh process imports Dagster and then the
definitions, and compares its own two times: a machine that is busy, or slower for a while, slows both. Prints the
seconds of each process and the median of the ratios, which one lucky or unlucky process does not move. Compiled
bytecode is imported, as in an installation. Where the time goes, `python -X importtime -c "import
sort_assets.definitions"` shows.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator

from benchmarks.rows import Row, Size, at_most

PROCESSES = 15
ALLOWED_RATIO = 1.25
"""Measured: 1.16 to 1.18, on an idle and on a busy machine."""
# Time of the processor, not of the clock, which on a busy machine measures the others.
_IMPORTS = """
import time
start = time.process_time()
import dagster
imported_dagster = time.process_time()
import sort_assets.definitions
print(imported_dagster - start, time.process_time() - imported_dagster)
"""


def rows(size: Size) -> Iterator[Row]:
    """How much longer the code location takes to import than Dagster."""
    processes = {"small": 1, "usual": 5, "full": PROCESSES}[size]
    measured = list(import_seconds(processes))
    dagsters, ours = (statistics.median(parts) for parts in zip(*measured, strict=True))
    note = f"medians of {processes} processes: CPU {dagsters:.2f} s for dagster, {ours:.2f} s more"
    aim = at_most(ALLOWED_RATIO)
    yield Row("import of sort_assets.definitions", ratio(measured), "x the import of dagster", aim, note)


def ratio(measured: Iterable[tuple[float, float]]) -> float:
    """The import of the definitions with Dagster, by that of Dagster."""
    return statistics.median((dagsters + ours) / dagsters for dagsters, ours in measured)


def import_seconds(processes: int) -> Iterator[tuple[float, float]]:
    """Of each process, the seconds for Dagster, and those that the definitions took after it."""
    _import()  # leaves the bytecode
    for _ in range(processes):
        yield _import()


def _import() -> tuple[float, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True, env=environment)
    dagsters, ours = map(float, done.stdout.split())
    return dagsters, ours
