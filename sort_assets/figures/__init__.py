"""Figures of a recording and its units, each written as one PNG for the page of an asset.

Nothing here knows Dagster. Every function takes SpikeInterface, probeinterface, pandas or numpy objects and a path,
writes a PNG of 660 pixels in width and returns the path. For each `plot_*` there is a `draw_*` beside it, which returns
the matplotlib figure unsaved. No global state of matplotlib is touched: the functions are safe in threads.
"""

from sort_assets.figures.amplitudes import plot_amplitudes
from sort_assets.figures.correlograms import plot_correlograms
from sort_assets.figures.drift import plot_drift
from sort_assets.figures.kept_bar import plot_kept_fraction_bar
from sort_assets.figures.metric_histograms import plot_metric_histograms
from sort_assets.figures.noise import plot_noise_levels
from sort_assets.figures.probe import plot_probe
from sort_assets.figures.raster import plot_raster
from sort_assets.figures.templates import plot_templates
from sort_assets.figures.traces import plot_traces
from sort_assets.figures.unit_positions import plot_unit_positions
from sort_assets.figures.verdicts import MetricCriterion

__all__ = [
    "MetricCriterion",
    "plot_amplitudes",
    "plot_correlograms",
    "plot_drift",
    "plot_kept_fraction_bar",
    "plot_metric_histograms",
    "plot_noise_levels",
    "plot_probe",
    "plot_raster",
    "plot_templates",
    "plot_traces",
    "plot_unit_positions",
]
