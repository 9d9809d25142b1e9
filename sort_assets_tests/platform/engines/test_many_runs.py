"""The benchmark of many runs, at its smallest size."""

import pytest

from benchmarks.many_runs import rows


@pytest.mark.slow
def test_runs_that_begin_together_all_succeed() -> None:
    (row,) = rows("small")

    assert row.name == "3 runs at once in SQLite"
    assert row.figure == 0, row.note
    assert "3 succeeded, 0 failed" in row.note
