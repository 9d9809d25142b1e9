"""All benchmarks by one command, in one table, with the aim of each figure.

    make bench                                                # or: python -m benchmarks.bench
    make bench BENCH=full                                     # the long rows too
    python -m benchmarks.bench import_cost end_to_end         # some benchmarks only

Each module of this folder with a function `rows` runs in a process of its own, one after the other; one that fails
gives a row that says so, and a non-zero exit at the end. The table is written as JSON too, with the machine, the
versions, the date, and the load of the machine beside each row. On a busy machine, ratios and CPU seconds still say
something; seconds do not.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import CHECKOUT, machine, versions
from benchmarks.process_tree import BenchmarkError, Used, measure
from benchmarks.rows import SIZES, Aim, Row, Size

PACKAGE = "benchmarks"
LIMIT_S: dict[Size, float] = {"small": 300, "usual": 900, "full": 4 * 3600}
"""How long one benchmark may take."""
WIDTH = 170


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark gave.

    Attributes
    ----------
    name : str
        Its module.
    rows : list of (Row, float)
        Each with the machine's load average when it was there.
    used : Used or None
        What its process used; None where it failed.
    failure : str
        Why it failed; empty where it did not.
    """

    name: str
    rows: list[tuple[Row, float]]
    used: Used | None
    failure: str = ""


def benchmarks(package: str = PACKAGE) -> list[str]:
    """The modules of a package that have rows, by name."""
    folder = next(iter(importlib.import_module(package).__path__))  # from here modules are imported first
    return sorted(path.stem for path in Path(folder).glob("*.py") if "\ndef rows(" in path.read_text(encoding="utf-8"))


def run(name: str, size: Size, package: str = PACKAGE) -> Benchmark:
    """Run a benchmark in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="sort_assets-bench-") as temporary:
        target, log = Path(temporary) / "rows.jsonl", Path(temporary) / "log.txt"
        command = [sys.executable, "-m", "benchmarks.bench", f"{package}.{name}", "--size", size]
        command += ["--rows-to", str(target)]
        try:
            used = measure(command, log, folder=CHECKOUT, memory=False, limit_s=LIMIT_S[size])
        except BenchmarkError as error:
            return Benchmark(name, _read(target), None, str(error))
        return Benchmark(name, _read(target), used)


def write_rows(module: str, size: Size, target: Path) -> None:
    """What the process of one benchmark does: write a line for each row as soon as it is there."""
    with target.open("w", encoding="utf-8") as file:
        for row in importlib.import_module(module).rows(size):
            file.write(json.dumps({"row": asdict(row), "load": os.getloadavg()[0]}) + "\n")
            file.flush()


def report(size: Size, measured: Sequence[Benchmark], took_s: float) -> dict[str, Any]:
    """All figures, with the machine, the versions and the date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "size": size,
        "took s": round(took_s),
        "machine": machine(),
        "versions": versions(),
        "benchmarks": [
            {
                "name": one.name,
                "failure": one.failure,
                **({"wall s": round(one.used.wall_s, 1), "CPU s": round(one.used.cpu_s, 1)} if one.used else {}),
                **({"cores that others used": round(one.used.others_cores, 2)} if one.used else {}),
                "rows": [
                    {
                        **asdict(row),
                        "aim": str(row.aim) if row.aim else None,
                        "reached": row.reached,
                        "load": round(load, 1),
                    }
                    for row, load in one.rows
                ],
            }
            for one in measured
        ],
    }


def table(measured: Sequence[Benchmark]) -> Table:
    """The rows of all benchmarks; of one that failed, also one that says so."""
    shown = Table("benchmark", "figure", "", "unit", "aim", "reached", "load", "note", box=None, header_style="bold")
    for one in measured:
        for row, load in one.rows:
            figure = "-" if row.figure is None else f"{row.figure:.4g}"
            reached = {None: "", True: "yes", False: "[red]no[/]"}[row.reached]
            shown.add_row(one.name, row.name, figure, row.unit, str(row.aim or ""), reached, f"{load:.1f}", row.note)
        if one.failure:
            reason = one.failure.splitlines()
            shown.add_row(one.name, "[red]it failed[/]", "-", "", "", "[red]no[/]", "", reason[-1].strip())
    return shown


def main(words: Sequence[str] | None = None, package: str = PACKAGE) -> int:
    """Run benchmarks; print the table and write it as JSON. Returns the exit status: 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="BENCHMARK", help="all by default")
    parser.add_argument("--size", choices=SIZES, default="usual")
    parser.add_argument("--json", type=Path, default=CHECKOUT / "bench.json", help="file for all figures")
    parser.add_argument("--rows-to", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.rows_to:
        write_rows(given.names[0], given.size, given.rows_to)
        return 0
    known = benchmarks(package)
    if unknown := set(given.names) - set(known):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    began = time.monotonic()
    measured = []
    for name in given.names or known:
        one = run(name, given.size, package)
        measured.append(one)
        took = f"{one.used.wall_s:.0f} s, others used {one.used.others_cores:.1f} cores" if one.used else one.failure
        console.print(f"{name}: {len(one.rows)} rows, {took}", markup=False)
    found = report(given.size, measured, time.monotonic() - began)
    given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(table(measured))
    told = {**found["machine"], **found["versions"], "date": found["date"], "size": given.size}
    console.print(", ".join(f"{name} {value}" for name, value in told.items()), markup=False)
    console.print(f"{found['took s']} s in all; written to {given.json}", markup=False)
    return int(any(one.failure for one in measured))


def _read(target: Path) -> list[tuple[Row, float]]:
    lines = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
    found = [json.loads(line) for line in lines]
    return [(Row(**{**one["row"], "aim": _aim(one["row"]["aim"])}), one["load"]) for one in found]


def _aim(given: dict[str, Any] | None) -> Aim | None:
    return Aim(**given) if given else None


if __name__ == "__main__":
    sys.exit(main())
