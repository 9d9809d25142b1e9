"""All figures of the units of a recording, drawn into a folder in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets import figures
from sort_assets.curation.criteria import Criterion
from sort_assets.figures.style import BLUE, VERMILLION
from sort_assets.figures.unit_verdicts import KEPT, UNDECIDED, numbers, unit_verdicts
from sort_assets.reports.content import ReportFigure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    Draw = Callable[[], Figure]


def draw_unit_figures(
    folder: Path,
    *,
    analyzer: SortingAnalyzer | None,
    sorting: BaseSorting,
    metrics: pd.DataFrame,
    decisions: pd.DataFrame,
    criteria: Sequence[Criterion],
    duration_s: float,
) -> tuple[list[ReportFigure], dict[str, str]]:
    """Draw every figure that a report shows of its units.

    A figure that fails is left out; the others are drawn. Without units nothing is drawn.

    Parameters
    ----------
    folder : Path
        Where the PNG are written; it exists.
    analyzer : SortingAnalyzer or None
        With any of templates, spike_amplitudes, spike_locations and unit_locations. What needs an extension that is
        missing is left out.
    sorting : BaseSorting
        Single-segment; the units of the decisions.
    metrics : pd.DataFrame
        Index unit id, a column for each metric.
    decisions : pd.DataFrame
        Index unit id; columns `label`, `kept`, `decided_by` and for each criterion its value and `<criterion>_ok`.
    criteria : sequence of Criterion
        Those that were asked.
    duration_s : float
        Length of the recording in seconds, above 0.

    Returns
    -------
    drawn : list of ReportFigure
        In the order of the page.
    left_out : dict
        Why a figure is missing, by its title.
    """
    if sorting.get_num_units() == 0:
        return [], {}
    units = _Units(analyzer, sorting, metrics, decisions, criteria, duration_s)
    drawn, left_out = [], {}
    for name, title, caption, draw in units.all_figures():
        try:
            path = figures.save(draw(), folder / f"{name}.png")
        except _MissingError as missing:
            left_out[title] = str(missing)
        except Exception as error:
            left_out[title] = f"It could not be drawn: {type(error).__name__}: {error}"
        else:
            drawn.append(ReportFigure(name, title, caption, path))
    return drawn, left_out


class _MissingError(Exception):
    """The data of a figure do not exist; the message says why."""


class _Units:
    """The units of a recording, and one method for each figure of them."""

    def __init__(
        self,
        analyzer: SortingAnalyzer | None,
        sorting: BaseSorting,
        metrics: pd.DataFrame,
        decisions: pd.DataFrame,
        criteria: Sequence[Criterion],
        duration_s: float,
    ) -> None:
        self._analyzer = analyzer
        self._sorting = sorting
        self._metrics = metrics
        self._decisions = decisions
        self._criteria = criteria
        self._duration_s = duration_s
        self._verdicts = unit_verdicts(decisions)
        unit_ids = [str(unit_id) for unit_id in sorting.unit_ids]
        self._kept = [one for one in unit_ids if self._verdicts.get(one, UNDECIDED) == KEPT]
        self._others = [one for one in unit_ids if self._verdicts.get(one, UNDECIDED) != KEPT]

    def all_figures(self) -> list[tuple[str, str, str, Draw]]:
        """Name, title, caption and how it is drawn."""
        found: list[tuple[str, str, str, Draw]] = [
            (
                "kept_fraction_bar",
                "Kept and rejected units",
                "How many units are kept, and why the others are rejected, the most frequent reason first.",
                lambda: figures.draw_kept_fraction_bar(self._decisions, self._criteria),
            ),
            (
                "unit_positions",
                "Units on the probe",
                "Where the units are estimated to be. Circles are kept, crosses rejected, squares duplicates; the size "
                "grows with the firing rate.",
                self._positions,
            ),
            (
                "raster",
                "Spikes over time",
                "Each row is a unit, with the smallest depth at the bottom; below, the rate of all units together. "
                "Gaps and steps that all units share come from the recording, not from neurons.",
                self._raster,
            ),
            (
                "metric_histograms",
                "Metrics and thresholds",
                "The distribution of each metric with a threshold; units in the grey part fail it.",
                lambda: figures.draw_metric_histograms(self._metrics, self._decisions, self._criteria),
            ),
            (
                "drift",
                "Drift",
                "Above, the depth of every spike, darker the larger it is; below, how far each unit's median depth is "
                "from its median over the recording. Movement larger than the contact pitch splits units.",
                self._drift,
            ),
        ]
        for kind, unit_ids, colour in (("kept", self._kept, BLUE), ("rejected", self._others, VERMILLION)):
            if unit_ids:
                found += self._figures_of_some(kind, unit_ids, colour)
        return found

    def _figures_of_some(self, kind: str, unit_ids: list[str], colour: str) -> list[tuple[str, str, str, Draw]]:
        percent = "isi_violations_percent"
        violations = dict(zip(self._metrics.index.astype(str), numbers(self._metrics, percent), strict=True))
        violations = {unit_id: value for unit_id, value in violations.items() if np.isfinite(value)}
        # Duplicates are among them, and are named in their panels.
        of_others = " Duplicates are among them." if kind == "rejected" and self._has_duplicates() else ""
        return [
            (
                f"templates_{kind}",
                f"Waveforms of {kind} units",
                f"The average waveform of each unit on its main channel and those around it.{of_others}",
                lambda: figures.draw_templates(self._with("templates"), unit_ids=unit_ids, kind=kind, colour=colour),
            ),
            (
                f"amplitudes_{kind}",
                f"Amplitudes of {kind} units",
                "A distribution that is cut off towards zero says that spikes were missed; steps and slopes say that "
                f"electrode or neuron moved.{of_others}",
                lambda: self._amplitudes(unit_ids, kind),
            ),
            (
                f"correlograms_{kind}",
                f"Spike intervals of {kind} units",
                "Intervals between successive spikes, and the autocorrelogram. A neuron alone leaves its refractory "
                f"period empty.{of_others}",
                lambda: figures.draw_correlograms(
                    self._sorting,
                    unit_ids=unit_ids,
                    violations_percent=violations,
                    verdicts=self._verdicts,
                    kind=kind,
                ),
            ),
        ]

    def _has_duplicates(self) -> bool:
        return any(self._verdicts.get(unit_id) == "duplicate" for unit_id in self._others)

    def _with(self, extension: str) -> SortingAnalyzer:
        """The analyzer, when it holds the extension."""
        if self._analyzer is None:
            raise _MissingError("There are no waveforms.")
        if not self._analyzer.has_extension(extension):
            raise _MissingError(f"{extension.replace('_', ' ').capitalize()} were not computed.")
        return self._analyzer

    def _of_spikes(self, extension: str) -> np.ndarray:
        """What an extension says of every spike, in the order of the analyzer's spike vector."""
        return np.asarray(self._with(extension).get_extension(extension).get_data())

    def _unit_of_amplitude(self) -> str:
        return "µV" if self._analyzer is not None and self._analyzer.return_in_uV else "stored units"

    def _in_order_of_sorting(self, column: str) -> np.ndarray:
        unit_ids = [str(unit_id) for unit_id in self._sorting.unit_ids]
        return numbers(self._metrics.set_axis(self._metrics.index.astype(str)).reindex(unit_ids), column)

    def _verdicts_in_order(self) -> list[str]:
        return [self._verdicts.get(str(unit_id), UNDECIDED) for unit_id in self._sorting.unit_ids]

    def _positions(self) -> Figure:
        if self._analyzer is None:
            raise _MissingError("There are no waveforms from which positions could be estimated.")
        units_um = np.column_stack([self._in_order_of_sorting("x_um"), self._in_order_of_sorting("y_um")])
        if not np.isfinite(units_um).any():
            raise _MissingError("Positions of the units were not computed.")
        rates_hz = self._in_order_of_sorting("firing_rate")
        return figures.draw_unit_positions(
            self._analyzer.get_channel_locations()[:, :2],
            units_um,
            verdicts=self._verdicts_in_order(),
            sizes=rates_hz if np.isfinite(rates_hz).any() else None,
        )

    def _raster(self) -> Figure:
        depths_um = self._in_order_of_sorting("y_um")
        return figures.draw_raster(
            self._sorting,
            duration_s=self._duration_s,
            unit_depths=depths_um if np.isfinite(depths_um).all() else None,
            verdicts=self._verdicts_in_order(),
        )

    def _drift(self) -> Figure:
        analyzer = self._with("spike_locations")
        return figures.draw_drift(
            analyzer.sorting,
            self._of_spikes("spike_locations")["y"],
            contacts_um=analyzer.get_channel_locations()[:, :2],
            duration_s=self._duration_s,
            amplitudes=self._of_spikes("spike_amplitudes") if analyzer.has_extension("spike_amplitudes") else None,
            unit=self._unit_of_amplitude(),
        )

    def _amplitudes(self, unit_ids: list[str], kind: str) -> Figure:
        return figures.draw_amplitudes(
            self._with("spike_amplitudes").sorting,
            self._of_spikes("spike_amplitudes"),
            duration_s=self._duration_s,
            unit_ids=unit_ids,
            verdicts=self._verdicts,
            kind=kind,
            unit=self._unit_of_amplitude(),
        )
