"""The page of a recording's variants: what other sorters and other settings make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.figures.accuracy import Interval
from sort_assets.hybrid.accuracy import UnitAccuracy, overall
from sort_assets.reports.accuracy_tables import share_text
from sort_assets.reports.content import AttentionPoint, ReportContent, ReportFigure, ReportTable, SummaryNumber
from sort_assets.reports.recording_report import write_report

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 500
_COLUMNS = (
    "Sorting",
    "What differs",
    "Units",
    "Kept",
    "Own kept units still there",
    "New units",
    "Recall of injected units",
    "Their precision",
    "Time (min)",
    "Device",
)

_HEADS = {
    "least_agreement": "Smallest agreement",
    "rate_hz": "Rate (Hz)",
    "amplitude_uv": "Amplitude (µV)",
    "channel": "Main channel",
    "x_um": "x (µm)",
    "y_um": "y (µm)",
}


@dataclass(frozen=True)
class TriedSorting:
    """One sorting on the page of variants.

    Attributes
    ----------
    name : str
        Of the variant; of the recording's own sorting, its sorter.
    differs : str
        From the recording's own settings, in words.
    units : int
    kept : int or None
        Units that pass the recording's criteria; None where that is not known.
    still_there, of : int or None
        Of how many of the own sorting's kept units, how many are still there; None of the own sorting.
    new : int or None
        Units that the own sorting does not have.
    minutes : float or None
        That its sort took.
    device : str
    injected : sequence of UnitAccuracy
        What became of injected units, sorted in the same way; empty where that was not tried.
    """

    name: str
    differs: str
    units: int
    kept: int | None = None
    still_there: int | None = None
    of: int | None = None
    new: int | None = None
    minutes: float | None = None
    device: str = ""
    injected: Sequence[UnitAccuracy] = field(default_factory=tuple)

    @property
    def recall(self) -> Interval:
        """Mean over the injected units and its 95 % interval; NaN where nothing was measured."""
        if not self.injected:
            return math.nan, math.nan, math.nan
        share = overall(self.injected).recall
        return share.value, share.low, share.high


def write_variants_report(
    path: Path,
    *,
    title: str,
    recording_key: str,
    sortings: Sequence[TriedSorting],
    consensus: pd.DataFrame | None,
    at_least: int,
    failed: Mapping[str, str],
    other_dat: Sequence[str],
    missing: Sequence[str],
    figures: Sequence[ReportFigure],
    written_at: datetime,
) -> Path:
    """Write the page.

    Parameters
    ----------
    path : Path
        The HTML file to write; its folder exists.
    title, recording_key : str
    sortings : sequence of TriedSorting
        The recording's own first.
    consensus : pd.DataFrame or None
        Units on which sortings agree, as `sort_assets.comparisons.consensus` has them.
    at_least : int
        How many sortings must have a unit.
    failed : Mapping of str to str
        Why variants have no sorting, by name.
    other_dat : sequence of str
        Variants whose sorting is of an earlier `.dat`.
    missing : sequence of str
        Variants that are declared for the recording and were not tried, or failed before they began.
    figures : sequence of ReportFigure
    written_at : datetime
        With its time zone.
    """
    attention = [AttentionPoint("warning", f"{name} failed: {why}") for name, why in failed.items()]
    attention += [
        AttentionPoint("note", f"{name} was tried on an earlier .dat of this recording, and is left out.")
        for name in other_dat
    ]
    attention += [
        AttentionPoint("note", f"{name} is declared for this recording and has no sorting: see its runs.")
        for name in missing
    ]
    if len(sortings) > 1 and not any(one.injected for one in sortings):
        attention.append(
            AttentionPoint(
                "note",
                "More units are not better units. Materialize hybrid_recording and then the variants again: they are "
                "judged by how they find units that were injected.",
            )
        )
    agreed = 0 if consensus is None else len(consensus)
    best = max((one for one in sortings if one.injected), key=lambda one: one.recall[0], default=None)
    numbers = [
        SummaryNumber("Sortings", str(len(sortings)), "the recording's own among them"),
        SummaryNumber("Consensus", str(agreed), f"units that at least {at_least} of {len(sortings)} sortings have"),
    ]
    if best is not None:
        numbers.append(SummaryNumber("Best recall", f"{best.recall[0]:.2f}", best.name))
    return write_report(
        path,
        ReportContent(
            title=f"{title}: variants",
            recording_key=recording_key,
            written_at=written_at,
            headline=f"{len(sortings) - 1} variants beside the recording's own sorting; {agreed} units are found by at "
            f"least {at_least} of the {len(sortings)} sortings.",
            attention=tuple(attention),
            summary=tuple(numbers),
            figures=tuple(figures),
            tables=(_sortings(sortings), *([] if consensus is None else [_consensus(consensus, at_least)])),
        ),
    )


def _sortings(sortings: Sequence[TriedSorting]) -> ReportTable:
    return ReportTable(
        "Sortings",
        _COLUMNS,
        tuple(_row(one) for one in sortings),
        "Kept: units that pass the recording's own criteria of curation. Still there: units that were kept of the "
        "recording's own sorting and are kept, moved, or whole but for a small part in the variant. Recall and "
        "precision: of units injected into a stretch of this recording and sorted in the same way, with 95 % "
        "intervals. Time: of the step; that of a variant sorts the injected units, too.",
    )


def _row(one: TriedSorting) -> tuple[str, ...]:
    judged = overall(one.injected) if one.injected else None
    return (
        one.name,
        one.differs,
        str(one.units),
        _count(one.kept),
        "" if one.still_there is None else f"{one.still_there} of {one.of}",
        _count(one.new),
        "" if judged is None else share_text(judged.recall),
        "" if judged is None else share_text(judged.precision),
        "" if one.minutes is None else f"{one.minutes:.1f}",
        one.device,
    )


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _consensus(table: pd.DataFrame, at_least: int) -> ReportTable:
    rows = tuple(
        tuple(_cell(value) for value in (unit, *row)) for unit, row in zip(table.index, table.to_numpy(), strict=True)
    )
    left_out = len(rows) - _MOST_ROWS
    more = f" {left_out:,} further units are in the asset's table." if left_out > 0 else ""
    return ReportTable(
        "Units on which sortings agree",
        ("Unit", *(_HEADS.get(str(name), str(name).capitalize()) for name in table.columns)),
        rows[:_MOST_ROWS],
        f"Units that at least {at_least} sortings have, with the unit of each.{more}",
    )


def _cell(value: object) -> str:
    import pandas as pd

    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
