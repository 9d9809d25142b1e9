"""Waveforms and templates of the sorted units, as a SpikeInterface `SortingAnalyzer`."""

import dagster as dg

from sort_assets.platform.pipeline.assets.observed import waveform_settings
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.content_hash import hash_analyzer
from sort_assets.platform.store.details import WaveformsDetails
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.layout import ANALYZER_FOLDER


@dg.asset(
    partitions_def=recordings,
    deps=[waveform_settings],
    group_name=GROUP,
    owners=OWNERS,
    code_version="2",
    op_tags=step_tags("waveforms"),
    retry_policy=CRASH_RETRIES,
    kinds={"python"},
    description=(
        "Waveforms around a random choice of each unit's spikes, their templates, and what else needs the recording: "
        "amplitude and position of every spike, positions and correlograms of the units, similarity of their templates."
    ),
)
def waveforms(
    context: dg.AssetExecutionContext, sorting: StoredSorting, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, sorting=sorting) as asset:
        from sort_assets.figures import draw_templates
        from sort_assets.metrics.extensions import complete_analyzer

        analyzer = asset.backend.extract_waveforms(
            sorting.load_recording(),
            sorting.load(),
            asset.staging.path / ANALYZER_FOLDER,
            asset.staging.path / "curation",
            rec_path=sorting.binary_dat.preprocessed_recording.raw_path,
        )
        has_units = len(analyzer.unit_ids) > 0
        failed = complete_analyzer(analyzer, job_kwargs=asset.job_kwargs, warn=context.log.warning) if has_units else {}
        asset.figure("templates", lambda: draw_templates(analyzer))
        return asset.publish(
            data_version=hash_analyzer(analyzer),
            details=WaveformsDetails(num_units=len(analyzer.unit_ids), failed_extensions=failed),
            metadata={
                "units": len(analyzer.unit_ids),
                "waveforms": int(analyzer.get_extension("random_spikes").get_data().size),
                "ms_before": asset.config.waveform.ms_before,
                "ms_after": asset.config.waveform.ms_after,
                **({"could_not_be_computed": dg.MetadataValue.json(failed)} if failed else {}),
            },
        )
