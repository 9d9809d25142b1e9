"""The clock of a recording as a table of the report: its pieces, and what is missing between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sort_assets.recordings.clock import Clock, ClockPiece
from sort_assets.recordings.opening import Boundary
from sort_assets.reports.content import ReportTable

_COLUMNS = ("Samples", "Starts at", "Ends at", "Samples per second", "Before it")
_ROWS = 30


def clock_table(clock: Clock, files: Sequence[Boundary] = (), doubts: Sequence[str] = ()) -> ReportTable:
    """The pieces of a clock, each with its start and its rate, and how far it is from the one before.

    Parameters
    ----------
    clock : Clock
        Of what was sorted. Of more than 30 pieces the first are shown.
    files : sequence of Boundary
        The files of which it consists, where there are several: passing from one to the next is no gap.
    doubts : sequence of str
        Sentences on what is doubtful about it.
    """
    begins = {piece.start_sample: f"{piece.name} begins" for piece in files} if len(files) > 1 else {}
    jumps = {jump.sample: jump.samples for jump in clock.jumps if jump.sample not in begins}
    rows = [
        _row(piece, begins.get(piece.start_sample) or _missing(piece, jumps, clock.rate_hz))
        for piece in clock.pieces[:_ROWS]
    ]
    if len(clock.pieces) > _ROWS:
        rows.append((f"… and {len(clock.pieces) - _ROWS} more pieces", "", "", "", ""))
    gaps = sum(samples > 0 for samples in jumps.values()) + sum(piece.filled for piece in clock.pieces)
    return ReportTable(
        title="Clock",
        columns=_COLUMNS,
        rows=tuple(rows),
        caption=f"Times are those of the file's {clock.source}: the first sample is at {clock.start_time_s:.6f} s, and "
        f"there are {clock.rate_hz:.6f} samples per second ({clock.against_nominal}). "
        f"{' '.join((f'Pieces: {len(clock.pieces)}; gaps: {gaps}.', *clock.caveats, *doubts))}",
    )


def _missing(piece: ClockPiece, jumps: Mapping[int, int], rate_hz: float) -> str:
    """How a piece follows the one before; empty where it goes on."""
    if piece.filled:
        return "a gap: zeros stand for it"
    jump = jumps.get(piece.start_sample, 0)
    if jump > 0:
        return f"{jump} samples missing ({jump / rate_hz:.6f} s)"
    return f"the clock steps back by {-jump} samples ({-jump / rate_hz:.6f} s)" if jump else ""


def _row(piece: ClockPiece, before: str) -> tuple[str, ...]:
    return (
        f"{piece.start_sample} to {piece.end_sample - 1}",
        f"{piece.start_time_s:.6f} s",
        f"{piece.end_time_s:.6f} s",
        f"{piece.rate_hz:.6f}",
        before,
    )
