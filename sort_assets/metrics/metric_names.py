"""Which metrics SpikeInterface knows, and whether the configured names and parameters are among them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from sort_assets.config.units import MetricsConfig
from sort_assets.errors import ConfigError

NEVER_COMPUTED = "nn_advanced"
"""SpikeInterface leaves it out by default too, because it is slow."""


def metric_families() -> tuple[Any, Any]:
    """SpikeInterface's extensions that compute metrics: of spikes and amplitudes, and of templates."""
    from spikeinterface.metrics.quality.quality_metrics import ComputeQualityMetrics
    from spikeinterface.metrics.template.template_metrics import ComputeTemplateMetrics

    return ComputeQualityMetrics, ComputeTemplateMetrics


def check_metric_names(config: MetricsConfig) -> None:
    """Check that the metrics that are left out, or have parameters, exist, and that they take these parameters.

    Raises
    ------
    ConfigError
        When a name is unknown, with the nearest one.
    """
    known = {
        metric.metric_name: metric
        for family in metric_families()
        for metric in family.metric_list
        if metric.metric_name != NEVER_COMPUTED
    }
    of_column = {column: name for name, metric in known.items() for column in metric.metric_columns}
    for field, names in (("skip", config.skip), ("params", config.params)):
        for name in names:
            if name not in known:
                nearest = of_column.get(name) or _nearest(name, known)
                raise _unknown(f"metrics.{field}", name, "SpikeInterface has no such metric", nearest, known)
    for name, params in config.params.items():
        takes = _parameters(known[name])
        for parameter in params:
            if parameter not in takes:
                nearest = _nearest(parameter, takes)
                raise _unknown(
                    f"metrics.params.{name}", parameter, "the metric takes no such parameter", nearest, takes
                )


def _parameters(metric: Any) -> set[str]:
    """What a metric takes besides the analyzer, and what SpikeInterface itself hands it."""
    signature = inspect.signature(metric.metric_function)
    named = {name for name, each in signature.parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD}
    return (named | set(metric.metric_params)) - {"sorting_analyzer", "unit_ids", "tmp_data", "job_kwargs", "periods"}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name, list(known), n=1)
    return close[0] if close else None


def _unknown(field: str, name: str, what: str, nearest: str | None, known: Iterable[str]) -> ConfigError:
    choice = f"Did you mean {nearest}?" if nearest else f"Use one of: {', '.join(sorted(known)) or 'none'}."
    return ConfigError(f"{field}: {name}: {what}.", remedy=choice, field=f"{field}.{name}")
