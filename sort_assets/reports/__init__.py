"""The report of a recording: one HTML page that holds its figures and needs nothing else.

`content` has what the page shows, as plain data; `figures` draws its figures, `unit_table` makes its table of units,
`parameters` lists the configuration in force, and `recording_report` renders the template `recording_report.html.j2`.

To add a figure to the report, add it to the list in `figures`; to add a section, add its data to `ReportContent` and
show it in the template.
"""

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
from sort_assets.reports.parameters import parameters_in_force, with_shape_choices
from sort_assets.reports.recording_report import write_report
from sort_assets.reports.report_figures import draw_unit_figures
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
    "with_shape_choices",
    "write_report",
]
