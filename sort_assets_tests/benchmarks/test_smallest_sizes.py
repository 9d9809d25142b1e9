"""Benchmarks whose smallest size is a real run: nobody looks at the figures here, but there are some."""

from importlib import import_module

import pytest

from benchmarks import comparing_sortings, opening
from benchmarks.rows import Row


@pytest.mark.release
def test_opening_is_measured_in_the_processor_s_time() -> None:
    (row,) = opening.rows("small")

    assert row.name == "open 0.01 h of 384 channels, spikeglx_g0"
    assert row.figure is not None
    assert "later, with the clock that was kept" in row.note


def test_a_comparison_is_measured_in_seconds_and_memory() -> None:
    took, memory = comparing_sortings.rows("small")

    assert took.unit == "s"
    assert "'split': 2, 'merged': 4, 'lost': 2, 'new': 2" in took.note
    assert memory.figure is not None


@pytest.mark.release
@pytest.mark.parametrize("module", ["benchmarks.fixed_overhead", "benchmarks.ray_makespan", "benchmarks.shapes"])
def test_it_runs(module: str) -> None:
    rows: list[Row] = list(import_module(module).rows("small"))

    assert rows
    assert all(row.figure is not None for row in rows)
