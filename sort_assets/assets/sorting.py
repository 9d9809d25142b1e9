"""The sorting: the spike sorter's run, on a device of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.assets.staged import GROUP, StagedAsset, staged
from sort_assets.backends.base import EXCESS_SPIKES
from sort_assets.execution.devices import cuda_is_built
from sort_assets.execution.executor import GPU_POOL, GPU_TAGS
from sort_assets.execution.leases import CPU, device_lease, on_device
from sort_assets.partitions import recordings
from sort_assets.resources import BackendResource
from sort_assets.storage import StoredBinary, StoredSorting
from sort_assets.storage.content import hash_sorting
from sort_assets.storage.handles import UNGROUPED

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting
UNITS_CHECK = "units_found"
INSIDE_CHECK = "spikes_inside_recording"


@dg.asset(
    partitions_def=recordings,
    group_name=GROUP,
    code_version="1",
    kinds={"python", "gpu"},
    pool=GPU_POOL,
    op_tags=dict(GPU_TAGS),
    check_specs=[
        dg.AssetCheckSpec(UNITS_CHECK, asset="sorting", description="The sorter found units."),
        dg.AssetCheckSpec(INSIDE_CHECK, asset="sorting", description="The sorter put no spike outside the recording."),
    ],
    description="Spike trains found by the configured sorter, with the sorter's own output folder beside them.",
)
def sorting(
    context: dg.AssetExecutionContext, binary_dat: StoredBinary, backend: dg.ResourceParam[BackendResource]
) -> dg.MaterializeResult:
    with staged(context, backend, binary_dat=binary_dat) as asset:
        from sort_assets.recordings import aggregate_sortings

        sorter = asset.sorter
        sorter.check_ready()
        raw_path = binary_dat.preprocessed_recording.raw_path
        parts = _what_to_sort(binary_dat)
        folders = {
            group: asset.staging.path / ("sorter" if group == UNGROUPED else f"sorter-group-{index}")
            for index, group in enumerate(parts)
        }
        wants_gpu = sorter.uses_gpu and sorter.config.sorter.device != CPU and cuda_is_built()
        with device_lease(context.log.info, gpu=wants_gpu) as lease:
            if sorter.uses_gpu:
                sorter.config = on_device(sorter.config, lease)
            context.log.info(f"Sorting {context.partition_key} with {sorter.name} on {lease.name}.")
            found = {
                group: sorter.sort(recording, raw_path, dat_path, folders[group])
                for group, (recording, dat_path) in parts.items()
            }
        units = found[UNGROUPED] if set(found) == {UNGROUPED} else aggregate_sortings(found)
        StoredSorting.write(units, asset.staging.path)
        recording, _ = next(iter(parts.values()))
        excess = sum(one.get_annotation(EXCESS_SPIKES) or 0 for one in found.values())
        params = {group: sorter.effective_params(folder) for group, folder in folders.items()}
        return _publish(asset, units, recording, device=lease.name, params=params, excess_spikes=int(excess))


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
    units: "BaseSorting",
    recording: "BaseRecording",
    *,
    device: str,
    params: dict[str, dict[str, Any]],
    excess_spikes: int,
) -> dg.MaterializeResult:
    from sort_assets.figures import plot_raster

    # Readers hand on numpy's numbers, which Dagster can't store.
    duration_s, num_samples = float(recording.get_duration()), int(recording.get_num_samples())
    asset.figure("raster", lambda path: plot_raster(units, path, duration_s=duration_s))
    spikes = units.to_spike_vector()
    counts = {unit: int(count) for unit, count in units.count_num_spikes_per_unit(outputs="dict").items()}
    outside = int((spikes["sample_index"] < 0).sum() + (spikes["sample_index"] >= num_samples).sum())
    return asset.publish(
        data_version=hash_sorting(units),
        config=asset.sorter.config,
        details={
            "num_units": len(counts),
            "num_spikes": int(spikes.size),
            "excess_spikes": excess_spikes,
            "duration_s": duration_s,
            "start_time_s": float(recording.get_start_time()),
            "device": device,
            "effective_params": params,
        },
        metadata={
            "units": len(counts),
            "spikes": int(spikes.size),
            "sorter": asset.sorter.name,
            "device": device,
            "units_table": dg.MetadataValue.table(
                [
                    dg.TableRecord({"unit": str(unit), "spikes": count, "rate_hz": round(count / duration_s, 3)})
                    for unit, count in counts.items()
                ]
            ),
            "parameters": dg.MetadataValue.json(next(iter(params.values()))),
        },
        checks=[
            dg.AssetCheckResult(
                check_name=UNITS_CHECK,
                passed=len(counts) > 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"units": len(counts)},
            ),
            dg.AssetCheckResult(
                check_name=INSIDE_CHECK,
                passed=outside == 0 and excess_spikes == 0,
                severity=dg.AssetCheckSeverity.ERROR if outside else dg.AssetCheckSeverity.WARN,
                metadata={"spikes_outside": outside, "left_out_beyond_the_end": excess_spikes},
            ),
        ],
    )
