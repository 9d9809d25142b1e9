"""The benchmark of imports, at its smallest size."""

from benchmarks.import_cost import rows


def test_the_import_takes_longer_than_that_of_dagster_alone() -> None:
    (row,) = rows("small")

    assert row.figure is not None
    assert row.figure > 1
