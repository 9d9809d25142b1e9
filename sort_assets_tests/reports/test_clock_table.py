"""The clock in the report."""

from sort_assets.recordings.clock import Clock, ClockPiece, clock_from_start, join_clocks
from sort_assets.recordings.opening import Boundary
from sort_assets.reports.clock_table import clock_table

RATE_HZ = 30_000.0


def test_each_piece_is_a_row_with_what_is_missing_before_it() -> None:
    pieces = (
        ClockPiece(0, 30_000, 12.5, 30_001.5),
        ClockPiece(30_000, 60_000, 20.0, 30_001.5),
        ClockPiece(60_000, 60_300, 20.0 + 30_000 / 30_001.5, 30_001.5, filled=True),
        ClockPiece(60_300, 90_000, 20.0 + 30_300 / 30_001.5, 30_001.5),
    )

    table = clock_table(Clock(pieces, RATE_HZ, "timestamps"))

    assert [row[0] for row in table.rows] == ["0 to 29999", "30000 to 59999", "60000 to 60299", "60300 to 89999"]
    assert table.rows[1][1] == "20.000000 s"
    assert table.rows[1][4].startswith("195011 samples missing (6.500042 s)")
    assert table.rows[2][4] == "a gap: zeros stand for it"
    assert "timestamps" in table.caption
    assert "12.500000 s" in table.caption
    assert "+50.00 ppm from the nominal 30000 Hz" in table.caption
    assert "gaps: 2" in table.caption


def test_passing_to_the_next_file_is_no_gap() -> None:
    clock = join_clocks([clock_from_start(1000, RATE_HZ), clock_from_start(500, RATE_HZ)])

    table = clock_table(clock, [Boundary("a.nwb", 0, 1000, 0.0), Boundary("b.nwb", 1000, 1500, 0.0)])

    assert [row[4] for row in table.rows] == ["a.nwb begins", "b.nwb begins"]
    assert "gaps: 0" in table.caption


def test_a_file_that_states_no_rate_is_compared_to_none() -> None:
    plain = clock_from_start(1000, 29_998.5)

    table = clock_table(Clock(plain.pieces, 29_998.5, "timestamps", nominal_is_stated=False))

    assert "the file states no nominal rate" in table.caption
    assert "ppm" not in table.caption
