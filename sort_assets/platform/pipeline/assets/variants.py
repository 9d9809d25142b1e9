"""Sortings of a recording with another sorter or other parameters, each an asset of its own beside `sorting`."""

import shutil
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.config.variants import Variant
from sort_assets.errors import ComparisonError, MissingArtefactError, SortAssetsError
from sort_assets.metrics.columns import UNIT_METRICS
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.assets.hybrid_accuracy import write_to_sort
from sort_assets.platform.pipeline.assets.sorting import what_to_sort
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.extra_sort import sort_on_device
from sort_assets.platform.pipeline.jobs import PRIORITY_TAG, VARIANT_PRIORITY
from sort_assets.platform.pipeline.materialization import OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.tables import column_schema, units_table
from sort_assets.platform.store.content_hash import hash_sorting, hash_table
from sort_assets.platform.store.handles import UNGROUPED, StoredBinary, StoredSorting
from sort_assets.platform.store.layout import ANALYZER_FOLDER, DECISIONS_FILE, METRICS_FILE
from sort_assets.platform.store.stored_hybrid import StoredHybrid
from sort_assets.platform.store.stored_variant import StoredVariant, VariantDetails, VariantUnitsDetails

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

    from sort_assets.hybrid.accuracy import UnitAccuracy

VARIANTS_GROUP = "variants"
_SHOWN = ("num_spikes", "firing_rate", "snr", "isi_violations_percent", "amplitude_uv")


def variant_assets(variant: Variant) -> list[dg.AssetsDefinition]:
    """The Dagster assets of a variant, partitioned by recording: its sortings, and what is known of their units."""

    @dg.asset(
        name=variant.asset,
        partitions_def=recordings,
        group_name=VARIANTS_GROUP,
        owners=OWNERS,
        code_version="1",
        kinds={"python", "gpu"},
        pool=GPU_POOL,
        op_tags={**step_tags(variant.asset), PRIORITY_TAG: str(VARIANT_PRIORITY)},
        retry_policy=CRASH_RETRIES,
        metadata={"recordings": list(variant.recordings)},
        description=f"The recording's .dat sorted otherwise: {variant.words}.",
    )
    def sort_variant(
        context: dg.AssetExecutionContext, binary_dat: StoredBinary, backend: dg.ResourceParam[RecordingConfigResolver]
    ) -> dg.MaterializeResult:
        with staged(context, backend.under(variant.layer), binary_dat=binary_dat) as asset:
            return _sort(asset, variant, binary_dat)

    @dg.asset(
        name=variant.units_asset,
        ins={"sorted_so": dg.AssetIn(variant.asset)},
        partitions_def=recordings,
        group_name=VARIANTS_GROUP,
        owners=OWNERS,
        code_version="1",
        kinds={"python"},
        op_tags={**step_tags(variant.units_asset), PRIORITY_TAG: str(VARIANT_PRIORITY)},
        retry_policy=CRASH_RETRIES,
        metadata={"dagster/column_schema": column_schema(UNIT_METRICS)},
        description="Waveforms and metrics of the variant's units, and which of them the recording's criteria keep.",
    )
    def measure_variant(
        context: dg.AssetExecutionContext, sorted_so: StoredVariant, backend: dg.ResourceParam[RecordingConfigResolver]
    ) -> dg.MaterializeResult:
        read: dict[str, Any] = {variant.asset: sorted_so}
        with staged(context, backend.under(variant.layer), **read) as asset:
            return _measure(asset, sorted_so)

    return [sort_variant, measure_variant]


def _sort(asset: StagedAsset, variant: Variant, binary_dat: StoredBinary) -> dg.MaterializeResult:
    from sort_assets.figures import draw_raster
    from sort_assets.hybrid.accuracy import overall
    from sort_assets.recordings import aggregate_sortings

    if (published := asset.published_before()) is not None:
        return published
    asset.backend.check_ready()
    if asset.backend.writes_dat and not binary_dat.dat_paths:
        raise ComparisonError(
            f"{asset.backend.name} reads a .dat, and none was written for the recording's own sorter.",
            remedy="Set a sorter that reads a .dat for the recording too, and materialize binary_dat again.",
        )
    raw_path = binary_dat.preprocessed_recording.raw_path
    parts = what_to_sort(binary_dat, binary_dat.dat_paths)
    first, _ = next(iter(parts.values()))
    asset.shape = sum(part.get_num_channels() for part, _ in parts.values()), int(first.get_num_samples())
    found: dict[str, BaseSorting] = {}
    params = {}
    for number, (group, (recording, dat_path)) in enumerate(parts.items()):
        folder = asset.staging.path / ("sorter" if group == UNGROUPED else f"sorter-group-{number}")
        found[group], device = sort_on_device(asset, recording, raw_path=raw_path, dat_path=dat_path, folder=folder)
        params[group] = asset.backend.effective_params(folder)
    units = found[UNGROUPED] if set(found) == {UNGROUPED} else aggregate_sortings(found)
    StoredSorting.write(units, asset.staging.path)
    hybrid_version, injected = _judge(asset, binary_dat)
    duration_s = float(first.get_duration())
    details = VariantDetails(
        num_units=int(units.get_num_units()),
        num_spikes=int(units.to_spike_vector().size),
        duration_s=duration_s,
        start_time_s=float(first.get_start_time()),
        device=device,
        effective_params=params,
        degraded=bool(asset.attempt.settings.scaled),
        scaled=asset.attempt.settings.scaled,
        failed_attempts=tuple(one.failure for one in asset.attempt.earlier),
        differs=variant.words,
        hybrid_version=hybrid_version,
        injected_units=tuple(one.to_dict() for one in injected),
    )
    asset.figure("raster", lambda: draw_raster(units, duration_s=duration_s))
    recall = overall(injected).recall.value if injected else None
    return asset.publish(
        data_version=hash_sorting(units),
        details=details,
        metadata={
            "units": details.num_units,
            "spikes": details.num_spikes,
            "differs": variant.words,
            "sorter": asset.backend.name,
            "device": device,
            **({} if recall is None else {"recall_of_injected_units": recall}),
            "parameters_used": dg.MetadataValue.json(next(iter(params.values()))),
        },
    )


def _measure(asset: StagedAsset, variant: StoredVariant) -> dg.MaterializeResult:
    """Waveforms, metrics and decisions, as the recording's own sorting has them.

    Merges that the recording's settings would apply are not applied: a variant is what its sorter found.
    """
    from sort_assets.curation.curate import curate
    from sort_assets.figures import draw_templates
    from sort_assets.metrics.extensions import complete_analyzer
    from sort_assets.metrics.tables import write_table
    from sort_assets.metrics.unit_metrics import compute_unit_metrics

    folder, log, binary = asset.staging.path, asset.context.log, variant.binary_dat
    analyzer = asset.backend.extract_waveforms(
        binary.load() if binary.dat_paths else binary.preprocessed_recording.load(),
        variant.load(),
        folder / ANALYZER_FOLDER,
        folder / "curation",
        rec_path=asset.raw_path,
    )
    if len(analyzer.unit_ids):
        complete_analyzer(analyzer, job_kwargs=asset.job_kwargs, warn=log.warning)
    metrics = compute_unit_metrics(analyzer, asset.config.metrics, job_kwargs=asset.job_kwargs, progress=log.info)
    criteria = asset.config.curation.model_copy(update={"apply_merges": False})
    curated = curate(analyzer, metrics, criteria, job_kwargs=asset.job_kwargs)
    write_table(metrics.table, folder / METRICS_FILE)
    write_table(curated.table, folder / DECISIONS_FILE)
    asset.figure("templates", lambda: draw_templates(analyzer))
    kept = int(curated.table["kept"].sum())
    return asset.publish(
        data_version=hash_table(metrics.table),
        details=VariantUnitsDetails(num_units=len(metrics.table), num_kept=kept),
        metadata={
            "units": len(metrics.table),
            "kept": kept,
            "dagster/row_count": len(metrics.table),
            "metrics": units_table(metrics.table, UNIT_METRICS, _SHOWN),
        },
    )


def _judge(asset: StagedAsset, binary_dat: StoredBinary) -> "tuple[str | None, list[UnitAccuracy]]":
    """Sort the recording's injected units in the same way, where it has some: how many does the variant find?"""
    from sort_assets.hybrid.accuracy import measure_accuracy

    hybrid = StoredHybrid(asset.roots, asset.staging.recording)
    try:
        if hybrid.sorting.binary_dat.manifest.version != binary_dat.manifest.version:
            return None, []
    except MissingArtefactError:
        return None, []
    work = asset.staging.path / "work"
    try:
        recording, dat_path = write_to_sort(asset, hybrid.load(), work)
        found, _ = sort_on_device(
            asset,
            recording,
            raw_path=binary_dat.preprocessed_recording.raw_path,
            dat_path=dat_path,
            folder=asset.staging.path / "sorter-hybrid",
        )
        return hybrid.manifest.version, measure_accuracy(hybrid.units, hybrid.load_truth(), found)
    except SortAssetsError as error:
        asset.context.log.warning(f"The injected units could not be sorted, so the variant is not judged: {error}")
        return None, []
    finally:
        shutil.rmtree(work, ignore_errors=True)
