"""One command runs all benchmarks, whatever becomes of one of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench import benchmarks
from benchmarks.rows import Row, at_least, at_most

TESTS = Path(__file__).parents[1]
_GOOD = """
from benchmarks.rows import Row, at_most

def rows(size):
    yield Row(f"a recording of {size} size", 1.02, "x the plain script", at_most(1.05), "one round")
"""
_FAILING = """
from benchmarks.rows import Row, at_least

def rows(size):
    yield Row("what it still gives", 40.0, "MB per CPU s", at_least(150))
    raise RuntimeError("no such sorter")
"""
_BENCH = "import sys; from benchmarks.bench import main; sys.exit(main(['--json', sys.argv[1]], package='fake'))"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any]]:
    """What the command prints and writes, of two benchmarks of which one fails."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "fake").mkdir()
    (folder / "fake" / "failing.py").write_text(_FAILING)
    (folder / "fake" / "good.py").write_text(_GOOD)
    (folder / "fake" / "no_benchmark.py").write_text("raise RuntimeError\n")
    path = os.pathsep.join([str(folder), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, "-c", _BENCH, str(folder / "bench.json")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "bench.json").exists(), done.stderr
    return done, json.loads((folder / "bench.json").read_text())


def test_a_benchmark_that_fails_gives_a_row_that_says_so_and_the_others_go_on(
    bench: tuple["subprocess.CompletedProcess[str]", dict[str, Any]],
) -> None:
    done, written = bench

    failing, good = written["benchmarks"]
    assert done.returncode == 1
    assert "no such sorter" in failing["failure"]
    assert [row["name"] for row in failing["rows"]] == ["what it still gives"]
    assert good["failure"] == ""
    assert re.search(r"failing +it failed .* RuntimeError: no such sorter", done.stdout)
    assert re.search(r"good +a recording of usual size +1\.02 +x the plain script +at most 1\.05 +yes", done.stdout)
    assert re.search(r"failing +what it still gives +40 +MB per CPU s +at least 150 +no", done.stdout)


def test_figures_are_written_with_the_machine_the_versions_and_the_date(
    bench: tuple["subprocess.CompletedProcess[str]", dict[str, Any]],
) -> None:
    _, written = bench

    (row,) = written["benchmarks"][1]["rows"]
    assert (row["figure"], row["aim"], row["reached"]) == (1.02, "at most 1.05", True)
    assert row["load"] >= 0
    assert written["benchmarks"][1]["CPU s"] > 0
    assert written["machine"]["cores"] == os.cpu_count()
    assert {"python", "numpy", "spikeinterface", "kilosort", "torch", "dagster", "commit"} <= written["versions"].keys()
    assert re.match(r"\d{4}-\d\d-\d\dT", written["date"])


def test_an_aim_is_a_limit_that_a_figure_may_touch() -> None:
    assert Row("", 1.05, "", at_most(1.05)).reached
    assert not Row("", 1.06, "", at_most(1.05)).reached
    assert Row("", 150.0, "", at_least(150)).reached
    assert not Row("", 149.0, "", at_least(150)).reached
    assert Row("not here", None, "", at_least(150)).reached is None


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="band-pass: the figure is nan"):
        Row("band-pass", float("nan"), "MB per CPU s")


def test_a_test_runs_every_benchmark() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))

    assert benchmarks()
    assert not [name for name in benchmarks() if not re.search(rf"benchmarks(?:\.| import .*){name}\b", tests)]
