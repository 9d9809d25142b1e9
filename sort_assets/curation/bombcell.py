"""Bombcell's labels of units, by SpikeInterface."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sort_assets.config import CurationConfig
from sort_assets.curation.criteria import check_threshold, numbers, unknown_name

if TYPE_CHECKING:
    import pandas as pd

# Missing of every unit is a result here, while elsewhere it says that the metric was not computed.
_MISSING_IS_A_RESULT = frozenset({"sliding_rp_violation"})

_OF_PRINCIPAL_COMPONENTS = frozenset({"isolation_distance", "l_ratio"})


def bombcell_thresholds(config: CurationConfig) -> dict[str, dict[str, Any]]:
    """Bombcell's thresholds by section and metric: SpikeInterface's defaults with what the configuration changes.

    A metric that the configuration sets to null is not asked.

    Raises
    ------
    ConfigError
        When the configuration names an unknown section, metric or key, with the nearest known one.
    """
    from spikeinterface.curation import bombcell_get_default_thresholds

    thresholds = bombcell_get_default_thresholds()
    for section, metrics in config.bombcell.items():
        if section not in thresholds:
            raise unknown_name(f"curation.bombcell.{section}", "Bombcell has no such section", section, thresholds)
        for name, bounds in metrics.items():
            check_threshold(f"curation.bombcell.{section}", name, bounds or {})
            if bounds is None:
                thresholds[section].pop(name, None)
            else:
                thresholds[section][name] = {**thresholds[section].get(name, {}), **bounds}
    return dict(thresholds)


def bombcell_labels(
    table: pd.DataFrame, config: CurationConfig, failed: Mapping[str, str] | None = None
) -> tuple[pd.Series, tuple[str, ...]]:
    """Bombcell's label of each unit: good, mua, noise or non_soma.

    Parameters
    ----------
    table : pd.DataFrame
        Metrics by unit.
    config : CurationConfig
        Its `bombcell` changes thresholds.
    failed : mapping
        Why metrics could not be computed, by metric.

    Returns
    -------
    labels : pd.Series
        By unit.
    notes : tuple of str
        What Bombcell could not take into account.

    Raises
    ------
    ConfigError
        As `bombcell_thresholds`.
    """
    import pandas as pd
    from spikeinterface.curation import bombcell_label_units

    thresholds = bombcell_thresholds(config)
    for name in _OF_PRINCIPAL_COMPONENTS - {name for metrics in config.bombcell.values() for name in metrics}:
        # They are computed where metrics.pca asks for it; that they are not is nothing to be told of every recording.
        if table.get(name) is None or numbers(table, name).isna().all():
            thresholds["mua"].pop(name, None)
    if table.empty:
        return pd.Series([], index=table.index, dtype="string"), ()
    asked = dict.fromkeys(name for section in thresholds.values() for name in section)
    metrics = pd.DataFrame({name: numbers(table, name) for name in asked}, index=table.index)
    # A column in which all is missing was not computed: Bombcell would call every unit noise for it.
    missing = [
        name
        for name in asked
        if metrics[name].isna().all() and (name not in _MISSING_IS_A_RESULT or name in (failed or {}))
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = bombcell_label_units(thresholds=thresholds, external_metrics=metrics.drop(columns=missing))
    # Pandas warns SpikeInterface's authors too.
    told = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    notes = tuple(f"Bombcell: {text.rstrip('.')}." for text in told)
    return labels["bombcell_label"].astype("string"), notes
