import pytest

from benchmarks.scale import rows


@pytest.mark.slow
def test_ticks_status_digest_and_summary_are_measured() -> None:
    figures = {row.name: row for row in rows("small")}

    aims = {name: str(row.aim) for name, row in figures.items() if row.aim is not None}
    assert aims == {
        "sensor tick over 200 known recordings, 1 new ones": "at most 1",
        "status of 20 recordings": "at most 2",
        "digest of 20 recordings": "at most 2",
        "summary of 20 recordings": "at most 2",
    }
    assert all(row.figure is not None and row.figure > 0 for row in figures.values())
