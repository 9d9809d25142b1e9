"""Reports of a recording and of all of them."""

from sort_assets.reports.content import (
    AttentionPoint,
    LineageStep,
    NoUnits,
    Parameter,
    ReportContent,
    ReportFigure,
    ReportTable,
    SummaryNumber,
    UnitColumn,
    UnitRow,
    UnitTable,
    UnitValue,
)
from sort_assets.reports.figures import draw_unit_figures
from sort_assets.reports.parameters import parameters_in_force
from sort_assets.reports.recording_report import write_report
from sort_assets.reports.unit_table import make_unit_table

__all__ = [
    "AttentionPoint",
    "LineageStep",
    "NoUnits",
    "Parameter",
    "ReportContent",
    "ReportFigure",
    "ReportTable",
    "SummaryNumber",
    "UnitColumn",
    "UnitRow",
    "UnitTable",
    "UnitValue",
    "draw_unit_figures",
    "make_unit_table",
    "parameters_in_force",
    "write_report",
]
