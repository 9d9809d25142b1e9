"""What a report says, as plain data; `sort_assets.reports.recording_report` makes a page of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class AttentionPoint:
    """What went wrong or needs attention.

    Attributes
    ----------
    level : "error", "warning" or "note"
        Errors are shown first.
    message : str
        What happened, and to what.
    remedy : str
        What to do about it, as an instruction; may be empty.
    source : str
        Who says so: the asset, the check, the metric.
    """

    level: Level
    message: str
    remedy: str = ""
    source: str = ""


@dataclass(frozen=True)
class SummaryNumber:
    """A number in the head of the page.

    Attributes
    ----------
    label, value : str
        Such as "Units kept" and "37 of 120", with its unit.
    note : str
        One short line beneath.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the page.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    title : str
    caption : str
        How to read it.
    path : Path
        The PNG; it is copied into the page.
    """

    name: str
    title: str
    caption: str
    path: Path


@dataclass(frozen=True)
class UnitColumn:
    """A column of numbers in the table of units.

    Attributes
    ----------
    label : str
        With the unit of the numbers.
    asked : str
        What the criterion asks, such as "at least 5"; empty where none does.
    description : str
        What the number says.
    """

    label: str
    asked: str = ""
    description: str = ""


@dataclass(frozen=True)
class UnitValue:
    """A number of a unit.

    Attributes
    ----------
    text : str
        Empty where it is not known.
    failed : bool
        Whether the unit fails by it.
    """

    text: str
    failed: bool = False


@dataclass(frozen=True)
class UnitRow:
    """A unit of the table.

    Attributes
    ----------
    unit_id : str
    verdict : str
        "kept", "rejected" or "duplicate".
    label : str
        "good", or what a person or a method called it.
    decided_by : str
    reason : str
        In words.
    values : tuple of UnitValue
        One for each column of the table.
    """

    unit_id: str
    verdict: str
    label: str
    decided_by: str
    reason: str
    values: tuple[UnitValue, ...]


@dataclass(frozen=True)
class UnitTable:
    """All units with what was decided of them.

    Attributes
    ----------
    columns : tuple of UnitColumn
    rows : tuple of UnitRow
    """

    columns: tuple[UnitColumn, ...]
    rows: tuple[UnitRow, ...]

    @property
    def unit_ids_by_verdict(self) -> dict[str, list[str]]:
        """The units of each verdict, in the order of the rows; the kept ones first."""
        found: dict[str, list[str]] = {"kept": []}
        for row in self.rows:
            found.setdefault(row.verdict, []).append(row.unit_id)
        return {verdict: unit_ids for verdict, unit_ids in found.items() if unit_ids}


@dataclass(frozen=True)
class ReportTable:
    """Any other table of the page.

    Attributes
    ----------
    title : str
    columns : tuple of str
        Their headings.
    rows : tuple of tuple of str
    caption : str
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Parameter:
    """A parameter in force.

    Attributes
    ----------
    name : str
        Dotted, as in a rules file: "curation.min_snr".
    value : str
    chosen_by : str
        The preset, file or person that chose it; empty for a default.
    """

    name: str
    value: str
    chosen_by: str = ""


@dataclass(frozen=True)
class LineageStep:
    """An input of the report.

    Attributes
    ----------
    asset, version, data_version : str
        Which artefact, which version of it in the store, and the hash of its content.
    made : str
        When, as text; may be empty.
    """

    asset: str
    version: str
    data_version: str
    made: str = ""


@dataclass(frozen=True)
class NoUnits:
    """Why there are no units.

    Attributes
    ----------
    reason : str
        What happened: the recording is silent, too short, or nothing was found.
    remedy : str
        What to do, as an instruction.
    """

    reason: str
    remedy: str


@dataclass(frozen=True)
class ReportContent:
    """All that the page of a recording says.

    Attributes
    ----------
    title : str
        Of the page.
    recording_key : str
    written_at : datetime
        With its time zone.
    headline : str
        The result in one sentence: "37 of 120 units are kept."
    attention : tuple of AttentionPoint
        Failures of metrics, checks that failed, degraded parameters, what was absent in the delivery.
    summary : tuple of SummaryNumber
    loading : str
        How to load the results, as Python.
    figures : tuple of ReportFigure
    figures_left_out : Mapping[str, str]
        Why a figure is missing, by its title.
    units : UnitTable or None
    no_units : NoUnits or None
        Given when the sorting holds no units; the page then says why.
    tables : tuple of ReportTable
        Further ones: checks, files of the delivery.
    history : tuple of str
        The steps of curation, one sentence each.
    parameters : tuple of Parameter
    versions : Mapping[str, str]
        Of packages, by name.
    lineage : tuple of LineageStep
    subject : str
        What `recording_key` is the key of, as the page's head calls it.
    """

    title: str
    recording_key: str
    written_at: datetime
    headline: str = ""
    attention: tuple[AttentionPoint, ...] = ()
    summary: tuple[SummaryNumber, ...] = ()
    loading: str = ""
    figures: tuple[ReportFigure, ...] = ()
    figures_left_out: Mapping[str, str] = field(default_factory=dict)
    units: UnitTable | None = None
    no_units: NoUnits | None = None
    tables: tuple[ReportTable, ...] = ()
    history: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    lineage: tuple[LineageStep, ...] = ()
    subject: str = "Recording"
