"""The page of benchmarks quotes what was measured."""

import json

from docs.measured import MEASURED, benchmarks_page, page


def test_every_figure_is_on_the_page_with_the_machine_and_the_date() -> None:
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))

    shown = benchmarks_page()

    rows = [row for one in measured["benchmarks"] for row in one["rows"]]
    assert rows
    assert all(f" | {row['name']} | " in shown for row in rows)
    assert measured["date"] in shown
    assert measured["machine"]["model"] in shown
    assert measured["versions"]["commit"] in shown


def test_a_figure_that_falls_short_and_a_benchmark_that_failed_are_said() -> None:
    row = {"name": "wall time", "figure": 1.074, "unit": "x the script", "aim": "at most 1.05", "reached": False}
    measured = {
        "date": "2026-12-01T00:00+00:00",
        "size": "usual",
        "machine": {"cores": 2},
        "versions": {"python": "3.11.7"},
        "benchmarks": [
            {"name": "end_to_end", "failure": "", "rows": [{**row, "load": 1.0, "note": "once"}]},
            {"name": "demo", "failure": "It ended with exit status 1.\n    No space left", "rows": []},
        ],
    }

    shown = page(measured)

    assert "| `end_to_end` | wall time | 1.074 | x the script | at most 1.05 | **no** | 1.0 | once |" in shown
    assert "| `demo` | it failed | | | | no | | No space left |" in shown
