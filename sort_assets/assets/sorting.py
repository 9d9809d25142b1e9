"""The sorting: the spike sorter's run, on a device of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.assets.staged import GROUP, StagedAsset, staged
from sort_assets.execution.executor import GPU_POOL, GPU_TAGS
from sort_assets.execution.leases import device_lease
from sort_assets.partitions import recordings
from sort_assets.resources import BackendResource
from sort_assets.storage import StoredBinary, StoredRecording, StoredSorting
from sort_assets.storage.content import hash_sorting
from sort_assets.storage.handles import UNGROUPED

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

    from sort_assets.backends import SorterBackend

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
        dg.AssetCheckSpec(INSIDE_CHECK, asset="sorting", description="All spikes lie inside the recording."),
    ],
    description="Spike trains found by the configured sorter, with the sorter's own output folder beside them.",
)
def sorting(
    context: dg.AssetExecutionContext,
    preprocessed_recording: StoredRecording,
    binary_dat: StoredBinary,
    backend: dg.ResourceParam[BackendResource],
) -> dg.MaterializeResult:
    with staged(context, backend, preprocessed_recording=preprocessed_recording, binary_dat=binary_dat) as asset:
        from sort_assets.recordings import aggregate_sortings

        sorter = asset.sorter
        parts = _what_to_sort(preprocessed_recording, binary_dat)
        with device_lease(context.log.info, gpu=sorter.uses_gpu and sorter.config.sorter.device != "cpu") as lease:
            context.log.info(f"Sorting {context.partition_key} with {sorter.name} on {lease.name}.")
            found = {
                group: sorter.sort(
                    recording,
                    preprocessed_recording.raw_path,
                    dat_path,
                    asset.staging.path / ("sorter" if group == UNGROUPED else f"sorter-group-{index}"),
                )
                for index, (group, (recording, dat_path)) in enumerate(parts.items())
            }
        units = found[UNGROUPED] if set(found) == {UNGROUPED} else aggregate_sortings(found)
        StoredSorting.write(units, asset.staging.path)
        sorted_part, _ = next(iter(parts.values()))
        # Readers hand on numpy's numbers, which Dagster can't store.
        duration_s, num_samples = float(sorted_part.get_duration()), int(sorted_part.get_num_samples())
        return _publish(asset, sorter, units, duration_s, num_samples, lease.name)


def _what_to_sort(
    preprocessed_recording: StoredRecording, binary_dat: StoredBinary
) -> "dict[str, tuple[BaseRecording, Path | None]]":
    """By group, what is sorted, and its `.dat` where there is one."""
    from sort_assets.recordings import split_recording

    if binary_dat.dat_paths:
        return {group: (part, binary_dat.dat_paths[group]) for group, part in binary_dat.load_groups().items()}
    recording = preprocessed_recording.load()
    split_by = preprocessed_recording.config.recording.split_by
    groups = split_recording(recording, split_by) if split_by else {UNGROUPED: recording}
    return {group: (part, None) for group, part in groups.items()}


def _publish(
    asset: StagedAsset,
    sorter: "SorterBackend",
    units: "BaseSorting",
    duration_s: float,
    num_samples: int,
    device: str,
) -> dg.MaterializeResult:
    from sort_assets.figures import plot_raster

    asset.figure("raster", lambda path: plot_raster(units, path, duration_s=duration_s))
    spikes = units.to_spike_vector()
    counts = {unit: int(count) for unit, count in units.count_num_spikes_per_unit(outputs="dict").items()}
    outside = int((spikes["sample_index"] < 0).sum() + (spikes["sample_index"] >= num_samples).sum())
    return asset.publish(
        data_version=hash_sorting(units),
        config=sorter.config,
        details={"num_units": len(counts), "num_spikes": int(spikes.size), "duration_s": duration_s, "device": device},
        metadata={
            "units": len(counts),
            "spikes": int(spikes.size),
            "sorter": sorter.name,
            "device": device,
            "units_table": dg.MetadataValue.table(
                [
                    dg.TableRecord({"unit": str(unit), "spikes": count, "rate_hz": round(count / duration_s, 3)})
                    for unit, count in counts.items()
                ]
            ),
        },
        checks=[
            dg.AssetCheckResult(
                check_name=UNITS_CHECK,
                passed=len(counts) > 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"units": len(counts)},
            ),
            dg.AssetCheckResult(check_name=INSIDE_CHECK, passed=outside == 0, metadata={"spikes_outside": outside}),
        ],
    )
