"""The metrics of all units, as one table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sort_assets.config.units import MetricsConfig
from sort_assets.metrics.columns import PCA_METRICS, UNIT_METRICS
from sort_assets.metrics.compiled import keep_compiled
from sort_assets.metrics.extensions import FAILURES_OF_THE_MACHINE, format_error, has_positions, why_missing
from sort_assets.metrics.metric_names import NEVER_COMPUTED, check_metric_names, metric_families
from sort_assets.metrics.own_metrics import OWN_METRICS, NotPossibleError, isi_violations_percent
from sort_assets.metrics.principal_components import principal_components
from sort_assets.metrics.sliding_refractory_period import sliding_rp_violations
from sort_assets.metrics.tables import as_declared, empty_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

_LONGEST_PRESENCE_BIN_S = 60.0
_LEAST_PRESENCE_BINS = 10
# Fits along the probe through fewer channels say nothing.
_FEWEST_CHANNELS = 3
_SLIDING_RP = "sliding_rp_violation"
# So many units' templates are upsampled, and components compared, at once: what bounds memory.
_UNITS_AT_ONCE = 64


@dataclass(frozen=True)
class UnitMetrics:
    """Metrics of units.

    Parameters
    ----------
    table : pd.DataFrame
        One row for each unit, with the columns `UNIT_METRICS`. A value is missing where there are too few spikes for
        it, and in all rows where the metric was not asked for or failed. Units without spikes have only their number
        and rate: 0.
    failed : Mapping of str to str
        Why metrics could not be computed, by SpikeInterface's name of the metric, or ours.
    """

    table: pd.DataFrame
    failed: Mapping[str, str]


def compute_unit_metrics(
    analyzer: SortingAnalyzer,
    config: MetricsConfig,
    *,
    job_kwargs: Mapping[str, Any],
    progress: Callable[[str], None] | None = None,
) -> UnitMetrics:
    """Compute quality metrics, template metrics, and our own.

    The presence ratio is counted in bins of 60 s as usual, but in at least ten bins: SpikeInterface 0.105.3 gives none
    for recordings shorter than its bin, and one that says nothing for little longer ones.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With waveforms and templates, and best with all of `FURTHER_EXTENSIONS` and its recording: what needs a missing
        one says so. The analyzer is left as it is.
    config : MetricsConfig
        What is left out, with which parameters, and whether principal components are used.
    job_kwargs : Mapping[str, Any]
        How SpikeInterface shares work among workers.
    progress : callable or None
        Told what is computed next.

    Returns
    -------
    UnitMetrics
        The same for the same analyzer, every time.

    Raises
    ------
    ConfigError
        When a metric or a parameter is configured that does not exist.
    MemoryError, OSError, SortAssetsError
        Memory or disk gave out, or the recording can't be read.
    """
    check_metric_names(config)
    keep_compiled()
    return _Computation(analyzer, config, job_kwargs, progress or (lambda _: None)).run()


class _Computation:
    def __init__(
        self,
        analyzer: SortingAnalyzer,
        config: MetricsConfig,
        job_kwargs: Mapping[str, Any],
        progress: Callable[[str], None],
    ) -> None:
        self._analyzer = analyzer
        self._config = config
        self._job_kwargs = dict(job_kwargs)
        self._progress = progress
        self._failed: dict[str, str] = {}
        self._values: dict[str, dict[str, Any]] = {}

    def run(self) -> UnitMetrics:
        spikes = self._analyzer.sorting.count_num_spikes_per_unit(outputs="array")
        active = list(self._analyzer.unit_ids[spikes > 0])
        with warnings.catch_warnings():
            # Of units with too few spikes for a metric, whose value is then missing.
            warnings.simplefilter("ignore")
            if active:
                self._quality_metrics(active)
                self._template_metrics(active)
                self._own_metrics(active)
        return UnitMetrics(self._table(silent=spikes == 0), self._failed)

    def _table(self, silent: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        index = empty_table((), self._analyzer.unit_ids).index
        values = {name: pd.Series(found).reindex(index) for name, found in self._values.items()}
        table = as_declared(pd.DataFrame(values, index), UNIT_METRICS)
        for name in ("num_spikes", "firing_rate"):
            if name not in self._config.skip:
                table.loc[silent, name] = 0
        table["isi_violations_percent"] = isi_violations_percent(table)
        return _without_infinities(table)

    def _quality_metrics(self, units: Sequence[Any]) -> None:
        family, _ = metric_families()
        pca_columns = {column.name for column in PCA_METRICS}
        names = self._asked_for(family)
        of_components = [n for n in names if pca_columns.intersection(family.get_metric_by_name(n).metric_columns)]
        others = [name for name in names if name not in of_components]
        self._progress(f"{len(others)} quality metrics of {len(units)} units")
        self._compute(family, others, units)
        if self._config.pca and of_components:
            self._progress("Metrics on principal components")
            with principal_components(self._analyzer, self._job_kwargs) as unavailable_reason:
                if unavailable_reason:
                    self._failed |= dict.fromkeys(of_components, unavailable_reason)
                else:
                    self._compute(family, of_components, units, at_once=_UNITS_AT_ONCE)

    def _template_metrics(self, units: Sequence[Any]) -> None:
        _, family = metric_families()
        names = self._asked_for(family)
        if not self._analyzer.has_extension("templates"):
            self._failed |= dict.fromkeys(names, why_missing(self._analyzer, "templates"))
            return
        along_probe = [name for name in names if name in _multi_channel_names()]
        on_one_channel = [name for name in names if name not in along_probe]
        self._progress(f"{len(names)} metrics of the average waveforms")
        with _made_up_positions(self._analyzer):
            self._compute(family, on_one_channel, units, at_once=_UNITS_AT_ONCE, include_multi_channel_metrics=False)
        if not has_positions(self._analyzer):
            self._failed |= dict.fromkeys(along_probe, "The channels have no positions.")
        elif wide := [unit for unit in units if self._num_channels(unit) >= _FEWEST_CHANNELS]:
            self._compute(family, along_probe, wide, at_once=_UNITS_AT_ONCE, include_multi_channel_metrics=True)
        else:
            why = f"No unit is seen on {_FEWEST_CHANNELS} channels, which it takes."
            self._failed |= dict.fromkeys(along_probe, why)

    def _own_metrics(self, units: Sequence[Any]) -> None:
        rows = [int(row) for row in self._analyzer.sorting.ids_to_indices(units)]
        for name, compute in OWN_METRICS.items():
            try:
                found = compute(self._analyzer)
            except FAILURES_OF_THE_MACHINE:
                raise
            except NotPossibleError as reason:
                self._failed[name] = str(reason)
            except Exception as error:
                self._failed[name] = format_error(error)
            else:
                for column, values in found.items():
                    self._values[column] = {
                        str(unit): values[row].item() for unit, row in zip(units, rows, strict=True)
                    }

    def _compute(
        self, family: Any, names: Sequence[str], units: Sequence[Any], *, at_once: int | None = None, **options: Any
    ) -> None:
        """Compute metrics one by one, so that each may fail alone, for at most `at_once` units at a time.

        SpikeInterface's own loop (`BaseMetricExtension._compute_metrics`, 0.105.3) also goes on after a metric that
        fails, but turns every exception into the text of a warning: memory that ran out would look like missing values,
        and the class of the failure would be lost. Its public `compute` prepares all units, and one without spikes
        makes the preparation of templates fail.
        """
        names = [name for name in names if self._is_possible(family.get_metric_by_name(name))]
        if not names:
            return
        # Of equal size: what compares units can't do it with a last one alone.
        batches = -(-len(units) // (at_once or len(units)))
        for batch in range(batches):
            some = units[batch * len(units) // batches : (batch + 1) * len(units) // batches]
            extension = family(self._analyzer)
            try:
                extension.set_params(save=False, metric_names=list(names), **options)
                shared = extension._prepare_data(self._analyzer, unit_ids=some)
            except FAILURES_OF_THE_MACHINE:
                raise
            except Exception as error:
                self._failed |= dict.fromkeys(names, format_error(error))
                return
            for name in names:
                self._compute_metric(family.get_metric_by_name(name), some, shared)
            del shared

    def _compute_metric(self, metric: Any, units: Sequence[Any], shared: Mapping[str, Any]) -> None:
        name = metric.metric_name
        params = metric.metric_params | self._defaults(name) | self._config.params.get(name, {})
        try:
            if name == _SLIDING_RP and self._analyzer.get_num_segments() == 1:
                result: Any = sliding_rp_violations(self._analyzer, units, **params)
            else:
                result = metric.compute(
                    self._analyzer,
                    unit_ids=units,
                    metric_params=params,
                    tmp_data=shared,
                    job_kwargs=self._job_kwargs,
                )
        except FAILURES_OF_THE_MACHINE:
            raise
        except Exception as error:
            self._failed[name] = format_error(error)
            return
        found = result._asdict() if hasattr(result, "_fields") else {next(iter(metric.metric_columns)): result}
        for column, values in found.items():
            self._values.setdefault(column, {}).update({str(unit): value for unit, value in values.items()})

    def _is_possible(self, metric: Any) -> bool:
        """Whether everything that the metric needs is there; if not, the reason is kept."""
        reason = self._why_impossible(metric)
        if reason is not None:
            self._failed[metric.metric_name] = reason
        return reason is None

    def _why_impossible(self, metric: Any) -> str | None:
        for extension in metric.depend_on:
            if not any(self._analyzer.has_extension(name) for name in extension.split("|")):
                # Of alternatives, SpikeInterface's first choice may be one that we never compute.
                wanted = "spike_amplitudes" if "spike_amplitudes" in extension else extension
                return why_missing(self._analyzer, wanted)
        if metric.needs_recording and not self._analyzer.has_recording():
            return "It needs the recording, which is gone."
        return None

    def _defaults(self, metric: str) -> dict[str, Any]:
        """Where ours differ from SpikeInterface's."""
        if metric == "presence_ratio":
            tenth_s = self._analyzer.get_total_duration() / _LEAST_PRESENCE_BINS
            return {"bin_duration_s": min(_LONGEST_PRESENCE_BIN_S, tenth_s)}
        if metric == "sd_ratio":
            # It reads noise from random places of the recording, otherwise from others every time.
            return {**self._job_kwargs, "random_slices_kwargs": {"seed": 0}}
        return {}

    def _asked_for(self, family: Any) -> list[str]:
        skipped = {NEVER_COMPUTED, *self._config.skip}
        return [metric.metric_name for metric in family.metric_list if metric.metric_name not in skipped]

    def _num_channels(self, unit: Any) -> int:
        sparsity = self._analyzer.sparsity
        if sparsity is None:
            return int(self._analyzer.get_num_channels())
        return len(sparsity.unit_id_to_channel_indices[unit])


@contextmanager
def _made_up_positions(analyzer: SortingAnalyzer) -> Iterator[None]:
    """Give channels positions meanwhile if they have none: SpikeInterface 0.105.3 asks for them without using them."""
    if has_positions(analyzer):
        yield
        return
    from probeinterface import ProbeGroup, generate_linear_probe

    probe = generate_linear_probe(num_elec=analyzer.get_num_channels())
    probe.set_device_channel_indices(range(analyzer.get_num_channels()))
    made_up = ProbeGroup()
    made_up.add_probe(probe)
    analyzer.rec_attributes["probegroup"] = made_up
    try:
        yield
    finally:
        analyzer.rec_attributes["probegroup"] = None


def _multi_channel_names() -> list[str]:
    from spikeinterface.metrics.template.template_metrics import get_multi_channel_template_metric_names

    return list(get_multi_channel_template_metric_names())


def _without_infinities(table: pd.DataFrame) -> pd.DataFrame:
    """Infinite values are missing ones: nothing can be drawn, averaged or written to JSON with them."""
    import numpy as np

    floats = table.select_dtypes("float64").columns
    table[floats] = table[floats].replace([np.inf, -np.inf], np.nan)
    return table
