"""The distributions of the metrics that are criteria, with their thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sort_assets.figures.metric_criterion import MetricCriterion, meets_criterion
from sort_assets.figures.style import (
    BLACK,
    LEGEND_ROW_IN,
    LIGHT_GREY,
    NOTE_SIZE,
    TICK_SIZE,
    add_legend_below,
    message_figure,
)
from sort_assets.figures.unit_panels import label_panels, new_panels, style_panel
from sort_assets.figures.unit_verdicts import MARKS, numbers, unit_verdicts

_TITLE = "Metrics and their thresholds"
_COLUMNS = 2
_BINS = 30
# Beyond this ratio of large to small values, small ones would all lie in the first bin.
_LINEAR_RANGE = 50.0
# Of the values; what lies beyond is counted in the outermost bins.
_SHOWN_PERCENTILES = (1.0, 99.0)


def draw_metric_histograms(
    metrics: pd.DataFrame, decisions: pd.DataFrame, criteria: Sequence[MetricCriterion]
) -> Figure:
    """Draw a histogram of each metric that is a criterion, with its threshold; the side that is rejected is shaded.

    Parameters
    ----------
    metrics : pd.DataFrame
        Index unit id, a column for each metric; it may hold no units.
    decisions : pd.DataFrame
        Index unit id; columns `label`, `kept`, and for each criterion its value and `<criterion>_ok`. A value there
        takes precedence over `metrics`, because criteria may have been applied to a part of the recording.
    criteria : sequence of MetricCriterion
    """
    if len(decisions) == 0 or not criteria:
        return message_figure("No criteria were asked" if len(decisions) else "No units found", title=_TITLE)
    verdict_of = np.array(list(unit_verdicts(decisions).values()))
    shown_verdicts = [verdict for verdict in MARKS if verdict in verdict_of]
    margin_in = 0.8 + LEGEND_ROW_IN * (len(shown_verdicts) + 2)
    figure, panels = new_panels(len(criteria), columns=_COLUMNS, margin_in=margin_in, row_in=1.75)
    beyond = False
    for (axes,), criterion in zip(panels, criteria, strict=True):
        values = _values(criterion, metrics, decisions)
        beyond |= _draw_metric(axes, criterion, values, verdict_of, _count_failed(criterion, values, decisions))
    units = len(decisions)
    label_panels(figure, title=f"{_TITLE}, {units:,} unit{'' if units == 1 else 's'}", y_label="Units")
    _add_legend(figure, {verdict: int((verdict_of == verdict).sum()) for verdict in shown_verdicts}, beyond=beyond)
    return figure


def _values(criterion: MetricCriterion, metrics: pd.DataFrame, decisions: pd.DataFrame) -> np.ndarray:
    """Shape (units,), in the order of the decisions; NaN where a value is not known."""
    table = decisions if criterion.name in decisions else metrics.reindex(decisions.index)
    values = numbers(table, criterion.name)
    return np.abs(values) if criterion.absolute else values


def _count_failed(criterion: MetricCriterion, values: np.ndarray, decisions: pd.DataFrame) -> int:
    ok = f"{criterion.name}_ok"
    if ok in decisions:
        return int(decisions[ok].astype("boolean").eq(False).sum())
    return int((~meets_criterion(values, criterion)).sum())


def _draw_metric(
    axes: Axes, criterion: MetricCriterion, values: np.ndarray, verdict_of: np.ndarray, failed: int
) -> bool:
    """Draw one panel; returns whether values lie beyond its outermost bins."""
    known = np.isfinite(values)
    axes.set_title(_panel_title(criterion, failed, int((~known).sum())), fontsize=NOTE_SIZE, loc="left", pad=4)
    axes.set_xlabel(criterion.label + (", without its sign" if criterion.absolute else ""), fontsize=TICK_SIZE)
    style_panel(axes)
    if not known.any():
        axes.text(0.5, 0.5, "not computed", transform=axes.transAxes, ha="center", va="center", fontsize=TICK_SIZE)
        axes.set_xticks([])
        axes.set_yticks([])
        return False
    limits = [limit for limit in (criterion.greater, criterion.less) if limit is not None]
    edges = _bin_edges(values[known], limits)
    if edges[0] > 0 and edges[-1] / edges[0] > _LINEAR_RANGE:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    # What lies beyond the outermost edges belongs to the outermost bins.
    within = np.clip(values, edges[0], edges[-1])
    below = np.zeros(len(edges) - 1)
    for verdict, mark in MARKS.items():
        counts, _ = np.histogram(within[known & (verdict_of == verdict)], bins=edges)
        if counts.any():
            axes.stairs(
                below + counts, edges, baseline=below, fill=True, color=mark.colour, hatch=mark.hatch, edgecolor="white"
            )
        below = below + counts
    _mark_thresholds(axes, criterion, edges)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.08 * max(float(below.max()), 1.0))
    axes.locator_params(axis="y", nbins=4, integer=True)
    return bool((within != values)[known].any())


def _panel_title(criterion: MetricCriterion, failed: int, unknown: int) -> str:
    asked = []
    if criterion.greater is not None:
        asked.append(f"at least {criterion.greater:g}")
    if criterion.less is not None:
        asked.append(f"at most {criterion.less:g}")
    not_known = f", {unknown:,} not known" if unknown else ""
    return f"{' and '.join(asked)}: {failed:,} fail{'s' if failed == 1 else ''}{not_known}"


def _bin_edges(values: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Edges of the bins, shape (bins + 1,); the first threshold is one, so that no bar stands on both of its sides.

    Evenly spaced in logarithm where all values are positive and span a wide range.
    """
    low, high = np.percentile(values, _SHOWN_PERCENTILES)
    low, high = min(float(low), *limits), max(float(high), *limits)
    if values.min() > 0 and low > 0 and high / low > _LINEAR_RANGE:
        return np.asarray(np.exp(_spaced(np.log(low / 1.3), np.log(high * 1.3), np.log(limits[0]))))
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.1
    edges = _spaced(low - margin, high + margin, limits[0])
    if low >= 0:
        # There is nothing below zero.
        edges = np.unique(np.clip(edges, 0, None))
    return edges


def _spaced(start: float, end: float, on_an_edge: float) -> np.ndarray:
    """Evenly spaced from `start` or before it to `end` or beyond it."""
    step = (end - start) / _BINS
    edges: np.ndarray = on_an_edge + step * np.arange(
        np.floor((start - on_an_edge) / step), np.ceil((end - on_an_edge) / step) + 1
    )
    return edges


def _mark_thresholds(axes: Axes, criterion: MetricCriterion, edges: np.ndarray) -> None:
    rejected = []
    if criterion.greater is not None:
        rejected.append((float(edges[0]), criterion.greater, criterion.greater))
    if criterion.less is not None:
        rejected.append((criterion.less, float(edges[-1]), criterion.less))
    for start, end, threshold in rejected:
        axes.axvspan(start, end, facecolor=LIGHT_GREY, edgecolor="none", zorder=0, gid="rejected side")
        axes.axvline(threshold, color=BLACK, linewidth=1, linestyle="--", gid="threshold")


def _add_legend(figure: Figure, counts: dict[str, int], *, beyond: bool) -> None:

    lines: dict[str, tuple[Artist, ...]] = {
        f"{verdict} ({count:,})": (
            Patch(facecolor=MARKS[verdict].colour, hatch=MARKS[verdict].hatch, edgecolor="white"),
        )
        for verdict, count in counts.items()
    }
    threshold = (Line2D([], [], color=BLACK, linewidth=1, linestyle="--"), Patch(facecolor=LIGHT_GREY))
    lines["threshold, and the side that is rejected"] = threshold
    if beyond:
        lines["values beyond are counted in the outermost bins"] = (Line2D([], [], linestyle="none"),)
    add_legend_below(figure, lines)
