"""Figures of a recording and its units, as the asset pages of Dagster and the report show them.

One module per figure, with one `draw_*` that takes SpikeInterface, probeinterface, pandas or numpy objects and returns
a matplotlib figure of 660 pixels in width; when there is nothing to plot, the figure says so in a sentence. `save`
writes a figure as PNG. What figures share is in `style` (sizes, colours, legends), `unit_panels` (a panel for each
unit), `unit_verdicts` (how kept and rejected units look), `channels` and `probe_layout`.

To add a figure, write a module with a `draw_*`, list it here, and call it where the asset's other figures are drawn
(`sort_assets/platform/pipeline/assets/`), or in `sort_assets.reports.report_figures` for the report.

Nothing here knows Dagster or touches global state of matplotlib: figures can be drawn in threads.
"""

from sort_assets.figures.accuracy import draw_accuracy, draw_recall_over_time
from sort_assets.figures.across_recordings import (
    draw_failures_by_class,
    draw_quality_over_time,
    draw_units_per_recording,
)
from sort_assets.figures.amplitudes import draw_amplitudes
from sort_assets.figures.comparison import draw_agreement, draw_fates, draw_fates_by_recording
from sort_assets.figures.correlograms import draw_correlograms
from sort_assets.figures.drift import draw_drift
from sort_assets.figures.kept_fraction_bar import draw_kept_fraction_bar
from sort_assets.figures.metric_criterion import MetricCriterion
from sort_assets.figures.metric_histograms import draw_metric_histograms
from sort_assets.figures.noise import draw_noise_levels
from sort_assets.figures.probe import draw_probe
from sort_assets.figures.raster import draw_raster
from sort_assets.figures.saving import save
from sort_assets.figures.templates import draw_templates
from sort_assets.figures.traces import draw_traces
from sort_assets.figures.unit_positions import draw_unit_positions
from sort_assets.figures.variants import draw_variants

__all__ = [
    "MetricCriterion",
    "draw_accuracy",
    "draw_agreement",
    "draw_amplitudes",
    "draw_correlograms",
    "draw_drift",
    "draw_failures_by_class",
    "draw_fates",
    "draw_fates_by_recording",
    "draw_kept_fraction_bar",
    "draw_metric_histograms",
    "draw_noise_levels",
    "draw_probe",
    "draw_quality_over_time",
    "draw_raster",
    "draw_recall_over_time",
    "draw_templates",
    "draw_traces",
    "draw_unit_positions",
    "draw_units_per_recording",
    "draw_variants",
    "save",
]
