"""The page of benchmarks, made from what `make bench` has written."""

import json
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parents[1] / "benchmarks" / "measured.json"
_INTRODUCTION = """# Benchmarks

`make bench` measures all of this on your machine, in less than 15 minutes on two cores; `make bench BENCH=full` has the
long rows too. It prints this table, and writes it into `bench.json`. Most figures are ratios of two things that were
measured in turn in the same run, or CPU seconds, since seconds are those of one machine. The load is the number of
processes that wanted a core in the minute before the figure was there: beyond the number of cores, wall seconds say
little.

The table on this page is in `benchmarks/measured.json`, which `make bench BENCH_JSON=benchmarks/measured.json` writes
anew.
"""


def benchmarks_page() -> str:
    """The table, with the machine, the versions and the date."""
    return page(json.loads(MEASURED.read_text(encoding="utf-8")))


def page(measured: dict[str, Any]) -> str:
    """The page of a table.

    Parameters
    ----------
    measured : dict
        What `benchmarks.bench` has written.
    """
    machine, versions = (
        ", ".join(f"{name} {value}" for name, value in measured[part].items()) for part in ("machine", "versions")
    )
    lines = [
        _INTRODUCTION,
        "## What was measured",
        "",
        f"On {measured['date']}, size `{measured['size']}`, with {machine}.",
        "",
        f"Versions: {versions}.",
        "",
        "| Benchmark | What | Figure | Unit | Aim | Reached | Load | Note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in measured["benchmarks"]:
        lines += [_line(f"`{one['name']}`", row) for row in one["rows"]]
        if one["failure"]:
            lines.append(f"| `{one['name']}` | it failed | | | | no | | {_cell(one['failure'].splitlines()[-1])} |")
    return "\n".join(lines) + "\n"


def _line(name: str, row: dict[str, Any]) -> str:
    figure = "not here" if row["figure"] is None else f"{row['figure']:.4g}"
    reached = {True: "yes", False: "**no**", None: ""}[row["reached"]]
    told = (row["name"], figure, row["unit"], row["aim"] or "", reached, f"{row['load']:.1f}", row["note"])
    return " | ".join((f"| {name}", *(_cell(text) for text in told))) + " |"


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
