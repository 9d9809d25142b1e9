"""The report of a recording: one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

from sort_assets.reports.content import AttentionPoint, ReportContent, ReportFigure

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
"""What the page may do, stated in the page itself: show its own pictures and styles, and nothing else."""

_TEMPLATE = "recording_report.html.j2"
_LEVELS = ("error", "warning", "note")


def write_report(path: Path, content: ReportContent) -> Path:
    """Write the page of a recording.

    The page holds its figures and styles, runs no script, loads nothing, and can be printed.

    Parameters
    ----------
    path : Path
        The HTML file to write; its folder exists.
    content : ReportContent
        What it says. Texts are escaped: unit ids, paths and reasons come from users. A figure whose file can't be read
        is named as left out.

    Returns
    -------
    Path
        `path`.
    """
    path.write_text(render_report(content), encoding="utf-8")
    return path


def render_report(content: ReportContent) -> str:
    """The page that `write_report` writes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sort_assets", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["anchor"] = unit_anchor
    left_out = dict(content.figures_left_out)
    pictures = []
    for figure in content.figures:
        try:
            pictures.append((figure, _inline(figure)))
        except OSError as error:
            left_out[figure.title] = f"Its file could not be read: {error}"
    return environment.get_template(_TEMPLATE).render(
        content=content,
        attention=_worst_first(content.attention),
        pictures=pictures,
        left_out=left_out,
        policy=CONTENT_SECURITY_POLICY,
    )


def unit_anchor(unit_id: str) -> str:
    """The fragment of a page's address that leads to a unit: "unit-12"."""
    return f"unit-{quote(unit_id, safe='')}"


def _worst_first(points: tuple[AttentionPoint, ...]) -> list[AttentionPoint]:
    return sorted(points, key=lambda point: _LEVELS.index(point.level))


def _inline(figure: ReportFigure) -> str:
    return f"data:image/png;base64,{base64.b64encode(figure.path.read_bytes()).decode('ascii')}"
