import pytest

from benchmarks.after_the_sort import STEPS, rows


@pytest.mark.slow
def test_each_step_after_the_sort_is_measured() -> None:
    found = {row.name.partition(": ")[2]: row.figure for row in rows("small")}

    assert list(found) == [*STEPS, "one pass beside SpikeInterface's", "all steps"]
    assert all(figure is not None and figure > 0 for figure in found.values())
