"""The sorting: the spike sorter's run, on a device of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.errors import SortAssetsError
from sort_assets.platform.execution.executor import GPU_POOL, GPU_TAGS
from sort_assets.platform.execution.leases import CPU, device_lease
from sort_assets.platform.pipeline.assets.observed import sorter_settings
from sort_assets.platform.pipeline.check_results import check_results, check_specs, preflight_check
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.failure_rendering import attempts_table, format_scaled_fields
from sort_assets.platform.pipeline.manual_decisions import refuse_resort
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.sort_memory_profile import describe_origin, find_profile, save_profile, sort_shape
from sort_assets.platform.store.content_hash import hash_sorting
from sort_assets.platform.store.details import SortingDetails
from sort_assets.platform.store.handles import UNGROUPED, StoredBinary, StoredSorting

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting
PREFLIGHT_CHECK = "preflight"
UNITS_CHECK = "units_found"
INSIDE_CHECK = "spikes_inside_recording"
PARAMETERS_CHECK = "as_configured"
_SPIKE_CHECKS = {
    "holes_at_batch_edges": "All units together fire as much at the edges of the sorter's batches as elsewhere.",
    "duplicate_fraction": "No spike was found twice, within a unit or as the spikes of two units.",
    "stability": "Activity goes on, and units stay, from the beginning of the recording to its end.",
}


@dg.asset(
    partitions_def=recordings,
    deps=[sorter_settings],
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    kinds={"python", "gpu"},
    pool=GPU_POOL,
    op_tags=dict(GPU_TAGS),
    retry_policy=CRASH_RETRIES,
    check_specs=[
        dg.AssetCheckSpec(
            PREFLIGHT_CHECK,
            asset="sorting",
            description="Before the sort, recording, machine and packages showed nothing that spoils it.",
        ),
        dg.AssetCheckSpec(UNITS_CHECK, asset="sorting", description="The sorter found units."),
        dg.AssetCheckSpec(
            INSIDE_CHECK,
            asset="sorting",
            blocking=True,
            description="The sorter put no spike outside the recording, and all are in the order of time.",
        ),
        dg.AssetCheckSpec(
            PARAMETERS_CHECK,
            asset="sorting",
            description="The sorter ran with the configured parameters; after out-of-memory some may be lowered.",
        ),
        *check_specs("sorting", _SPIKE_CHECKS),
    ],
    description="Spike trains found by the configured sorter, with the sorter's own output folder beside them.",
)
def sorting(
    context: dg.AssetExecutionContext, binary_dat: StoredBinary, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, alone=True, binary_dat=binary_dat) as asset:
        from sort_assets.curation.curate import check_unit_settings
        from sort_assets.machine.versions import torch_cuda_version
        from sort_assets.platform.pipeline.progress import StepObserver

        asset.backend.check_ready()
        check_unit_settings(asset.config)
        refuse_resort(asset.roots, context.partition_key, asset.config.execution, context.log.warning)
        observer = StepObserver(context.log.info, context.log.warning, f"{context.partition_key}, {asset.backend.name}")
        asset.backend.observer = observer
        raw_path = binary_dat.preprocessed_recording.raw_path
        parts = _what_to_sort(binary_dat)
        folders = {
            group: asset.staging.path / ("sorter" if group == UNGROUPED else f"sorter-group-{index}")
            for index, group in enumerate(parts)
        }
        wants_gpu = asset.backend.uses_gpu and asset.config.sorter.device != CPU and torch_cuda_version() is not None
        with device_lease(context.log.info, gpu=wants_gpu) as lease:
            shape = sort_shape(asset.backend.name, lease.name, [recording for recording, _ in parts.values()])
            asset.hold(lease if asset.backend.uses_gpu else None, find_profile(asset.attempt, shape))
            context.log.info(f"Sorting {context.partition_key} with {asset.backend.name} on {lease.name}.")
            found = {}
            for group, (recording, dat_path) in parts.items():
                with _naming(group):
                    found[group] = asset.backend.sort(recording, raw_path, dat_path, folders[group])
        result = _publish(asset, parts, found, folders, lease.name, preflight_check(PREFLIGHT_CHECK, observer.results))
        save_profile(asset.attempt, shape)
        return result


@contextmanager
def _naming(group: str) -> Iterator[None]:
    """Failures name the group of channels in which they happened."""
    try:
        yield
    except SortAssetsError as error:
        if group != UNGROUPED:
            error.message = f"Group {group}: {error.message}"
            error.diagnostics["group"] = group
        raise


def _what_to_sort(binary_dat: StoredBinary) -> "dict[str, tuple[BaseRecording, Path | None]]":
    """By group, what is sorted, and its `.dat` where there is one."""
    from sort_assets.recordings import split_recording

    if binary_dat.dat_paths:
        return {group: (part, binary_dat.dat_paths[group]) for group, part in binary_dat.load_groups().items()}
    preprocessed = binary_dat.preprocessed_recording
    recording, split_by = preprocessed.load(), preprocessed.config.recording.split_by
    groups = split_recording(recording, split_by) if split_by else {UNGROUPED: recording}
    return {group: (part, None) for group, part in groups.items()}


def _publish(
    asset: StagedAsset,
    parts: "dict[str, tuple[BaseRecording, Path | None]]",
    found: "dict[str, BaseSorting]",
    folders: dict[str, Path],
    device: str,
    preflight: dg.AssetCheckResult,
) -> dg.MaterializeResult:
    from sort_assets.backends.base import EXCESS_SPIKES, UNSORTABLE
    from sort_assets.checks.batch_edges import holes_at_batch_edges
    from sort_assets.checks.spikes import duplicate_fraction, spikes_in_order
    from sort_assets.checks.stability import stability
    from sort_assets.figures import draw_raster
    from sort_assets.recordings import aggregate_sortings

    units = found[UNGROUPED] if set(found) == {UNGROUPED} else aggregate_sortings(found)
    StoredSorting.write(units, asset.staging.path)
    recording, _ = next(iter(parts.values()))
    # Readers hand on numpy's numbers, which Dagster can't store.
    duration_s, num_samples = float(recording.get_duration()), int(recording.get_num_samples())
    asset.figure("raster", lambda: draw_raster(units, duration_s=duration_s))
    spikes = units.to_spike_vector()
    counts = {unit: int(count) for unit, count in units.count_num_spikes_per_unit(outputs="dict").items()}
    in_order = spikes_in_order(units, num_samples)
    excess = int(sum(one.get_annotation(EXCESS_SPIKES) or 0 for one in found.values()))
    params = {group: asset.backend.effective_params(folder) for group, folder in folders.items()}
    nothing = {
        group: SortAssetsError.from_dict(one.get_annotation(UNSORTABLE))
        for group, one in found.items()
        if one.get_annotation(UNSORTABLE) is not None
    }
    unsortable = next(iter(nothing.values())).message if len(nothing) == len(found) else None
    settings, earlier = asset.attempt.settings, asset.attempt.earlier
    scaled, parameters_from = settings.scaled, describe_origin(settings.profile)
    ran_with = format_scaled_fields(scaled)
    degraded = any(name not in asset.backend.harmless_fields for name in scaled)
    return asset.publish(
        data_version=hash_sorting(units),
        details=SortingDetails(
            num_units=len(counts),
            num_spikes=int(spikes.size),
            excess_spikes=excess,
            duration_s=duration_s,
            start_time_s=float(recording.get_start_time()),
            device=device,
            effective_params=params,
            unsortable=unsortable,
            unsortable_groups={group: error.message for group, error in nothing.items()},
            degraded=degraded,
            scaled=scaled,
            failed_attempts=tuple(one.failure for one in earlier),
            lesson=parameters_from,
        ),
        metadata={
            "units": len(counts),
            "spikes": int(spikes.size),
            "sorter": asset.backend.name,
            "device": device,
            **({"unsortable": unsortable} if unsortable else {}),
            "degraded": degraded,
            **({"scaled": ran_with} if scaled else {}),
            **({"parameters_from": parameters_from} if parameters_from else {}),
            **({"failed_attempts": attempts_table(earlier)} if earlier else {}),
            **_links_to_logs(asset, folders),
            "units_table": _units_table(counts, duration_s),
            "parameters_used": dg.MetadataValue.json(next(iter(params.values()))),
        },
        checks=[
            preflight,
            dg.AssetCheckResult(
                check_name=UNITS_CHECK,
                passed=len(counts) > 0,
                severity=dg.AssetCheckSeverity.WARN,
                description=unsortable and f"There is nothing to sort: {unsortable}",
                metadata={"units": len(counts)},
            ),
            dg.AssetCheckResult(
                check_name=INSIDE_CHECK,
                passed=in_order.passed and excess == 0,
                severity=dg.AssetCheckSeverity.WARN if in_order.passed else dg.AssetCheckSeverity.ERROR,
                description=in_order.description,
                metadata={**in_order.values, "left_out_beyond_the_end": excess},
            ),
            dg.AssetCheckResult(
                check_name=PARAMETERS_CHECK,
                passed=not degraded,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"Memory ran out, so that the sorter ran with {ran_with}." if degraded else None,
                metadata={name: f"{before} -> {after}" for name, (before, after) in scaled.items()},
            ),
            *check_results(
                [
                    holes_at_batch_edges(units, asset.backend.batch_samples),
                    duplicate_fraction(units),
                    stability(units, duration_s),
                ]
            ),
        ],
    )


def _links_to_logs(asset: StagedAsset, folders: dict[str, Path]) -> dict[str, dg.PathMetadataValue]:
    """Where the full logs are going to be: the output of each sorter's process, and the sorter's own log."""
    links = {}
    for group, folder in folders.items():
        for log in sorted(folder.rglob("*.log")):
            place = asset.staging.final_path / log.relative_to(asset.staging.path)
            links["_".join(filter(None, ("log", group, log.stem)))] = dg.MetadataValue.path(place)
    return links


def _units_table(counts: dict[Any, int], duration_s: float) -> dg.TableMetadataValue:
    # Dagster can't tell the columns of a table without rows.
    columns = [dg.TableColumn("unit"), dg.TableColumn("spikes", "int"), dg.TableColumn("rate_hz", "float")]
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"unit": str(unit), "spikes": count, "rate_hz": round(count / duration_s, 3)})
            for unit, count in counts.items()
        ],
        schema=dg.TableSchema(columns),
    )
