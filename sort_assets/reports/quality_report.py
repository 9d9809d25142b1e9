"""The page of a rig: how well its sorts find units that were injected into its recordings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sort_assets.checks.result import CheckResult
from sort_assets.figures import draw_accuracy, draw_recall_over_time, save
from sort_assets.hybrid.accuracy import UnitAccuracy, accuracy_table, overall
from sort_assets.reports.accuracy_tables import accuracy_groups, accuracy_tables, share_text
from sort_assets.reports.content import AttentionPoint, ReportContent, ReportFigure, ReportTable, SummaryNumber
from sort_assets.reports.parameters import parameters_in_force
from sort_assets.reports.recording_report import write_report

_FEW_UNITS = 30
"""With fewer, the intervals of five groups are wider than half of the scale."""


@dataclass(frozen=True)
class RigMeasurement:
    """One measurement of a rig, for its page.

    Attributes
    ----------
    recording : str
        Into which units were injected.
    made : datetime
        With its time zone.
    sorter : str
    params : str
        The parameters that were set, in words; empty where none were.
    units : tuple of UnitAccuracy
    """

    recording: str
    made: datetime
    sorter: str
    params: str
    units: tuple[UnitAccuracy, ...]

    @property
    def sorted_with(self) -> str:
        """Sorter and parameters."""
        return f"{self.sorter} {self.params}".strip()


def write_quality_report(
    path: Path,
    *,
    rig: str,
    measurements: Sequence[RigMeasurement],
    check: CheckResult,
    written_at: datetime,
    config: Mapping[str, object],
    chosen_by: Mapping[str, str],
) -> Path:
    """Write the page of a rig; its figures are drawn into the folder of the page.

    Parameters
    ----------
    path : Path
        The HTML file to write; its folder exists.
    rig : str
        In words.
    measurements : sequence of RigMeasurement
        Of the rig, newest first. The figures and tables are of those that were sorted as the newest one.
    check : CheckResult
        Whether the newest recall is as usual.
    written_at : datetime
        With its time zone.
    config, chosen_by : Mapping
        The newest measurement's configuration, and who chose what.
    """
    newest = measurements[0]
    alike = [one for one in measurements if one.sorted_with == newest.sorted_with]
    measured = [unit for one in alike for unit in one.units]
    every = overall(measured)
    figures = _draw(path.parent, measurements, newest.sorted_with, measured)
    content = ReportContent(
        title="How well units are found",
        subject="Rig",
        recording_key=rig,
        written_at=written_at,
        headline=(
            f"Of {_counted(every.units, 'unit')} injected into {_counted(len(alike), 'recording')}, {every.found_well} "
            f"are found well. Mean recall {share_text(every.recall)}, mean precision of those that are found "
            f"{share_text(every.precision)}."
        ),
        attention=tuple(_attention(check, every.units, len(measurements) - len(alike))),
        summary=(
            SummaryNumber("Recordings", str(len(alike)), "into which units were injected"),
            SummaryNumber("Units injected", str(every.units), f"{every.found_well} found well"),
            SummaryNumber("Recall", _number(every.recall.value), "mean over the injected units"),
            SummaryNumber("Precision", _number(every.precision.value), "mean over those that were found"),
            SummaryNumber("Sorted with", newest.sorter, newest.params),
            SummaryNumber("Newest", f"{newest.made:%Y-%m-%d}", newest.recording),
        ),
        figures=figures,
        tables=(*accuracy_tables(measured), _measurements(measurements), _units(newest)),
        parameters=parameters_in_force(config, chosen_by),
    )
    return write_report(path, content)


def _draw(
    folder: Path, measurements: Sequence[RigMeasurement], settings: str, measured: Sequence[UnitAccuracy]
) -> tuple[ReportFigure, ...]:
    oldest_first = measurements[::-1]
    over_time = draw_recall_over_time(
        [f"{one.made:%Y-%m-%d}" for one in oldest_first],
        [overall(one.units).recall.value for one in oldest_first],
        [one.sorted_with == settings for one in oldest_first],
    )
    return (
        ReportFigure(
            "accuracy_on_rig",
            "Recall and precision",
            "Means over injected units that have something in common, with 95 % intervals.",
            save(draw_accuracy(accuracy_groups(measured)), folder / "accuracy_on_rig.png"),
        ),
        ReportFigure(
            "recall_over_time",
            "Over time",
            "Mean recall of each measurement, in the order in which they were made.",
            save(over_time, folder / "recall_over_time.png"),
        ),
    )


def _attention(check: CheckResult, units: int, others: int) -> list[AttentionPoint]:
    points = []
    if not check.passed:
        points.append(AttentionPoint("warning", check.description, source=f"hybrid_accuracy, {check.name}"))
    if units < _FEW_UNITS:
        points.append(
            AttentionPoint(
                "note",
                f"Only {_counted(units, 'unit')} were injected so far, so that the intervals are wide.",
                "Measure the accuracy of more recordings of this rig, or raise hybrid.units.",
            )
        )
    if others:
        points.append(
            AttentionPoint(
                "note",
                f"{_counted(others, 'measurement')} of recordings that were sorted with other settings are listed, and "
                "left out of figures and numbers.",
            )
        )
    return points


def _measurements(measurements: Sequence[RigMeasurement]) -> ReportTable:
    rows = []
    for one in measurements:
        every = overall(one.units)
        rows.append(
            (
                one.recording,
                f"{one.made:%Y-%m-%d %H:%M}",
                one.sorted_with,
                str(every.units),
                str(every.found_well),
                _number(every.recall.value),
                _number(every.precision.value),
            )
        )
    return ReportTable(
        "Measurements",
        ("Recording", "Made at (UTC)", "Sorted with", "Units injected", "Found well", "Recall", "Precision"),
        tuple(rows),
        "The newest measurement of each recording.",
    )


def _units(newest: RigMeasurement) -> ReportTable:
    table = accuracy_table(newest.units)
    return ReportTable(
        f"Units injected into {newest.recording}",
        (
            "Unit",
            "Model",
            "SNR",
            "Amplitude (µV)",
            "Depth (µm)",
            "Rate (Hz)",
            "Spikes",
            "Found as",
            "Recall",
            "Precision",
        ),
        tuple(
            (
                str(unit),
                str(row["donor"]),
                f"{row['snr']:.1f}",
                f"{row['amplitude_uv']:.0f}",
                f"{row['depth_um']:.0f}",
                f"{row['firing_rate_hz']:.1f}",
                str(row["spikes"]),
                str(row["found_as"]) or "not found",
                _number(float(row["recall"])),
                _number(float(row["precision"])),
            )
            for unit, row in table.iterrows()
        ),
        "Model: the unit of the recording whose template was moved along the probe and scaled.",
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
