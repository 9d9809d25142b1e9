"""The benchmark of many runs, at its smallest size."""

import importlib.util
from pathlib import Path

import pytest

from sort_assets_tests.fixtures.home import CHECKOUT


@pytest.mark.slow
def test_runs_that_begin_together_all_succeed(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("many_runs", CHECKOUT / "benchmarks" / "many_runs.py")
    assert spec is not None
    assert spec.loader is not None
    many_runs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(many_runs)

    with many_runs.environment(tmp_path, None):
        (measured,) = many_runs.measure([3])

    assert measured.failures == {}
    assert measured.runs == 3
    assert "3 succeeded, 0 failed" in many_runs.in_words("SQLite", measured)
