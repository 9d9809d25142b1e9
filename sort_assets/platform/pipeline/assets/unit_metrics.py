"""Quality metrics of the sorted units, as one table."""

from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.errors import SortAssetsError
from sort_assets.metrics.columns import REPEATABILITY, UNIT_METRICS
from sort_assets.platform.pipeline.assets.observed import curation_settings
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_results, check_specs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.tables import column_schema, plain_value, units_table
from sort_assets.platform.store.content_hash import hash_table
from sort_assets.platform.store.details import MetricsDetails
from sort_assets.platform.store.handles import StoredAnalyzer
from sort_assets.platform.store.layout import METRICS_FILE
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from spikeinterface.core import SortingAnalyzer

    from sort_assets.platform.pipeline.rig_history import RigHistory

COMPLETE_CHECK = "all_metrics_computed"
_CHECKS = {
    COMPLETE_CHECK: "No metric failed.",
    "refractory_violations": "Most units are free enough of foreign spikes.",
    "drift_within_pitch": "The units drift less than the distance between contacts.",
    "drift_as_usual": "The units drift no more than usual on this rig; passes while its history is short.",
}
# A wider table widens the page with it, which cuts off its figures.
_SHOWN = ("num_spikes", "firing_rate", "snr", "isi_violations_percent", "amplitude_uv")
_MEDIANS = {
    "firing_rate": "median_rate_hz",
    "snr": "median_snr",
    "isi_violations_percent": "median_isi_percent",
    "amplitude_uv": "median_amplitude_uv",
    "waveform_deviation": "median_deviation",
    "presence_ratio": "median_presence",
    "drift_ptp": "median_drift_um",
}
"""Metrics of which the page shows the median over the units, and its label; a longer one leaves figures less room."""


@dg.asset(
    partitions_def=recordings,
    deps=[curation_settings],
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("unit_metrics"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "pandas"},
    metadata={"dagster/column_schema": column_schema(UNIT_METRICS)},
    check_specs=check_specs("unit_metrics", _CHECKS),
    description=(
        "Quality and template metrics of every unit, its position, its main channel and its amplitude. A metric that "
        "can't be computed is left out alone, and says why."
    ),
)
def unit_metrics(
    context: dg.AssetExecutionContext, waveforms: StoredAnalyzer, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, waveforms=waveforms) as asset:
        from sort_assets.checks.drift import drift_within_pitch
        from sort_assets.checks.refractory import refractory_violations
        from sort_assets.checks.usual_on_rig import drift_as_usual
        from sort_assets.metrics.tables import write_table
        from sort_assets.metrics.unit_metrics import compute_unit_metrics

        analyzer = waveforms.load()
        found = compute_unit_metrics(
            analyzer, asset.config.metrics, job_kwargs=asset.job_kwargs, progress=context.log.info
        )
        if asset.config.metrics.repeatability:
            _add_repeatability(asset, waveforms, found.table)
        write_table(found.table, asset.staging.path / METRICS_FILE)
        failed = dict(found.failed)
        for name, reason in failed.items():
            context.log.warning(f"The metric {name} could not be computed: {reason}")
        medians = _medians(found.table)
        asset.figure("positions", lambda: _draw_positions(analyzer, found.table))
        return asset.publish(
            data_version=hash_table(found.table),
            details=MetricsDetails(
                num_units=len(found.table),
                channels=analyzer.get_num_channels(),
                medians=medians,
                failed=failed,
            ),
            metadata={
                "units": len(found.table),
                "dagster/row_count": len(found.table),
                "metrics": units_table(found.table, UNIT_METRICS, _SHOWN),
                **{_MEDIANS[name]: plain_value(value) for name, value in medians.items() if value is not None},
            },
            checks=[
                dg.AssetCheckResult(
                    check_name=COMPLETE_CHECK,
                    passed=not failed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=" ".join(f"{name}: {reason.rstrip('.')}." for name, reason in failed.items()) or None,
                    metadata={"failed": len(failed)},
                ),
                *check_results(
                    [
                        refractory_violations(found.table),
                        drift_within_pitch(found.table, _positions_um(analyzer)),
                        drift_as_usual(_drift_um(found.table), _history(asset, analyzer.get_num_channels()).drift_um),
                    ]
                ),
            ],
        )


def _add_repeatability(asset: StagedAsset, waveforms: StoredAnalyzer, table: "pd.DataFrame") -> None:
    """Fill the column from another sort with the same settings; a warning says why there is nothing to fill in."""
    from sort_assets.platform.pipeline.repeatability import repeatability

    try:
        found = repeatability(waveforms.sorting)
    except SortAssetsError as error:
        asset.context.log.warning(f"The repeatability of the units could not be computed: {error}")
        return
    if found is None:
        asset.context.log.warning(
            "The store has no other sort of this recording with the same settings, so nobody can say how repeatable "
            "its units are. Launch the job sort_again."
        )
        return
    table[REPEATABILITY.name] = found.reindex(table.index).astype(float)


def _drift_um(table: "pd.DataFrame") -> "np.ndarray":
    import numpy as np

    from sort_assets.checks.drift import COLUMN

    return table[COLUMN].to_numpy(float, na_value=np.nan) if COLUMN in table else np.empty(0)


def _history(asset: StagedAsset, channels: int) -> "RigHistory":
    from sort_assets.platform.pipeline.rig_history import rig_history

    sorter = asset.config.sorter.name
    return rig_history(Store(asset.roots.store), asset.staging.recording, channels=channels, sorter=sorter)


def _draw_positions(analyzer: "SortingAnalyzer", table: "pd.DataFrame") -> "Figure | None":
    """Where the units are on the probe; None where the channels have no positions."""
    from sort_assets.figures import draw_unit_positions

    positions_um = _positions_um(analyzer)
    if positions_um is None:
        return None
    units_um = table[["x_um", "y_um"]].to_numpy(float)
    return draw_unit_positions(positions_um[:, :2], units_um, sizes=table["firing_rate"].to_numpy(float))


def _medians(table: "pd.DataFrame") -> dict[str, float | None]:
    """Medians over the units; None where no unit has the metric."""
    import pandas as pd

    medians = {name: table[name].astype(float).median() for name in _MEDIANS}
    return {name: None if pd.isna(value) else float(value) for name, value in medians.items()}


def _positions_um(analyzer: "SortingAnalyzer") -> "np.ndarray | None":
    return None if analyzer.rec_attributes["probegroup"] is None else analyzer.get_channel_locations()
