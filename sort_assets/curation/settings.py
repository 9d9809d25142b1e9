"""Mistakes in the settings of metrics and curation, found before hours are spent on a sort."""

from sort_assets.config import SortingPipelineConfig
from sort_assets.curation.bombcell import bombcell_thresholds
from sort_assets.curation.criteria import criteria_of
from sort_assets.metrics.metric_names import check_metric_names


def check_unit_settings(config: SortingPipelineConfig) -> None:
    """Check that all metrics, columns and thresholds that are named exist.

    Raises
    ------
    ConfigError
        With the nearest name.
    """
    check_metric_names(config.metrics)
    criteria_of(config.curation)
    bombcell_thresholds(config.curation)
