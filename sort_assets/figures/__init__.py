"""Figures of a recording and its units, each written as one PNG for the page of an asset.

Nothing here knows Dagster. Every function takes SpikeInterface, probeinterface or numpy objects and a path, writes a
PNG of 660 pixels in width and returns the path. For each `plot_*` there is a `draw_*` beside it, which returns the
matplotlib figure unsaved. No global state of matplotlib is touched: the functions are safe in threads.
"""

from sort_assets.figures.noise import plot_noise_levels
from sort_assets.figures.probe import plot_probe
from sort_assets.figures.raster import plot_raster
from sort_assets.figures.templates import plot_templates
from sort_assets.figures.traces import plot_traces

__all__ = ["plot_noise_levels", "plot_probe", "plot_raster", "plot_templates", "plot_traces"]
