"""The sorting: the spike sorter's run, on a device of its own."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.errors import MissedSpikesError, SortAssetsError
from sort_assets.machine.resource_use import processor_name
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.assets.observed import sorter_settings
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_results, check_specs, preflight_check
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.failure_rendering import attempts_table, format_scaled_fields, why_lowered
from sort_assets.platform.pipeline.manual_decisions import refuse_resort
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.sort_gpu import gpu_bytes_needed, gpus_of_last_failure
from sort_assets.platform.pipeline.sort_memory_profile import describe_origin, find_profile, save_profile, sort_shape
from sort_assets.platform.store.content_hash import hash_sorting
from sort_assets.platform.store.details import SortingDetails
from sort_assets.platform.store.handles import UNGROUPED, StoredBinary, StoredSorting
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

    from sort_assets.backends.shape import ShapeChoices
    from sort_assets.platform.execution.scratch import SortScratch
PREFLIGHT_CHECK = "preflight"
UNITS_CHECK = "units_found"
INSIDE_CHECK = "spikes_inside_recording"
PARAMETERS_CHECK = "as_configured"
_RUN_CHECKS = {
    PREFLIGHT_CHECK: "Before the sort, recording, machine and packages showed nothing that spoils it.",
    UNITS_CHECK: "The sorter found units.",
    INSIDE_CHECK: "The sorter put no spike outside the recording, and all are in the order of time.",
    PARAMETERS_CHECK: "The sorter ran with the configured parameters; after out-of-memory some may be lowered.",
}
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
    op_tags=step_tags("sorting"),
    retry_policy=CRASH_RETRIES,
    check_specs=check_specs("sorting", {**_RUN_CHECKS, **_SPIKE_CHECKS}, blocking=[INSIDE_CHECK]),
    description="Spike trains found by the configured sorter, with the sorter's own output folder beside them.",
)
def sorting(
    context: dg.AssetExecutionContext, binary_dat: StoredBinary, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    from sort_assets.platform.execution.scratch import SortScratch

    scratch = SortScratch(context.log.info, context.log.warning)
    with scratch, staged(context, backend, alone=True, binary_dat=binary_dat) as asset:
        from sort_assets.curation.curate import check_unit_settings
        from sort_assets.platform.execution.leases import CPU
        from sort_assets.platform.execution.sort_device import sort_device
        from sort_assets.platform.pipeline.progress import StepObserver
        from sort_assets.recordings import aggregate_sortings

        if (published := asset.published_before()) is not None:
            return published
        asset.backend.check_ready()
        check_unit_settings(asset.config)
        refuse_resort(context.instance, asset.roots, context.partition_key, asset.config.execution, context.log.warning)
        observer = StepObserver(context.log.info, context.log.warning, f"{context.partition_key}, {asset.backend.name}")
        asset.backend.observer = observer
        raw_path = binary_dat.preprocessed_recording.raw_path
        parts = what_to_sort(binary_dat, _on_scratch(scratch, asset, binary_dat))
        folders = {
            group: asset.staging.path / ("sorter" if group == UNGROUPED else f"sorter-group-{index}")
            for index, group in enumerate(parts)
        }
        uses_gpu, avoid = asset.backend.takes_gpu, gpus_of_last_failure(asset.attempt)
        to_sort = [recording for recording, _ in parts.values()]
        dat_paths = [path for _, path in parts.values() if path is not None]
        with asset.backend.started_ahead(len(parts), dat_paths), ExitStack() as device:
            for group, (recording, _) in parts.items():
                with _naming(group):
                    asset.backend.look_ahead(recording, raw_path)
            with asset.meter.waiting():
                lease, doubts_of_device = device.enter_context(
                    sort_device(
                        asset.config,
                        uses_gpu=uses_gpu,
                        avoid=avoid,
                        needed_bytes=gpu_bytes_needed(asset.attempt, asset.backend, to_sort),
                        log=context.log.info,
                    )
                )
            if lease.device != CPU:
                asset.meter.gpu_taken(lease.label)
                device.callback(asset.meter.gpu_given_back)
            observer.checked(doubts_of_device)
            shape = sort_shape(asset.backend.name, lease.name, to_sort)
            asset.hold(lease if uses_gpu else None, find_profile(asset.attempt, shape))
            asset.backend.gpu_parts = lease.parts
            observer.expected = _expected(asset, binary_dat, lease.label if lease.device != CPU else None)
            known = f" {observer.expected.capitalize()}." if observer.expected else ""
            context.log.info(f"Sorting {context.partition_key} with {asset.backend.name} on {lease.label}.{known}")
            shaped = {group: asset.backend.shape_choices(recording) for group, (recording, _) in parts.items()}
            found: dict[str, BaseSorting] = {}
            missed: dict[str, MissedSpikesError] = {}
            for number, (group, (recording, dat_path)) in enumerate(parts.items(), 1):
                if number == len(parts):
                    asset.backend.device_is_free = device.close
                try:
                    with _naming(group):
                        found[group] = asset.backend.sort(recording, raw_path, dat_path, folders[group])
                    scratch.name_originals(folders[group])
                except MissedSpikesError as error:
                    context.log.error(str(error))
                    missed[group], found[group] = error, _no_units(recording)
        # What other groups found is not thrown away for one; the check says which failed.
        if missed and not any(one.get_num_units() for one in found.values()):
            raise next(iter(missed.values()))
        units = found[UNGROUPED] if set(found) == {UNGROUPED} else aggregate_sortings(found)
        doubts = [
            f"Group {group}: {doubt}" if group != UNGROUPED else doubt
            for group, (recording, _) in parts.items()
            for doubt in asset.backend.doubts(recording, found[group])
        ]
        first, _ = next(iter(parts.values()))
        missing = binary_dat.preprocessed_recording.details.missing_parts
        batch_samples = asset.backend.batch_samples_for(first)
        asset.shape = sum(part.get_num_channels() for part, _ in parts.values()), int(first.get_num_samples())
        result = _Sorted(first, units, found, folders, lease.name, shaped, batch_samples, missing, doubts, missed)
        published = _publish(asset, result, preflight_check(PREFLIGHT_CHECK, observer.results))
        save_profile(asset.attempt, shape)
        return published


def _expected(asset: StagedAsset, binary_dat: StoredBinary, gpu: str | None) -> str:
    from sort_assets.platform.pipeline.recording_forecast import time_of_sort

    try:
        return time_of_sort(Store(asset.roots.store), binary_dat.manifest, asset.config, gpu or processor_name())
    except Exception:  # a sort does not fail for want of a forecast
        asset.context.log.warning("How long the sort takes could not be forecast.", exc_info=True)
        return ""


def _no_units(recording: "BaseRecording") -> "BaseSorting":
    from spikeinterface.core import NumpySorting

    return NumpySorting.from_unit_dict([{}], recording.sampling_frequency)


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


def _on_scratch(scratch: "SortScratch", asset: StagedAsset, binary_dat: StoredBinary) -> dict[str, Path]:
    """By group, the `.dat` that is sorted: on the node's scratch where there is one."""
    from sort_assets.platform.pipeline.progress import StepObserver

    copying = StepObserver(
        asset.context.log.info, asset.context.log.warning, f"copying the .dat of {binary_dat.recording} to scratch"
    )
    written = sum(asset.backend.bytes_to_write(part) for part in binary_dat.load_groups().values())
    reserve = int((asset.config.execution.min_free_disk_gb or 0) * 1e9)
    dat_paths = scratch.take(
        binary_dat.recording, binary_dat.dat_paths, beside_bytes=written + reserve, progress=copying.writing
    )
    asset.backend.work_folder = scratch.work_folder
    return dat_paths


def what_to_sort(
    binary_dat: StoredBinary, dat_paths: dict[str, Path]
) -> "dict[str, tuple[BaseRecording, Path | None]]":
    """By group, what is sorted, and its `.dat` where there is one.

    Parameters
    ----------
    binary_dat : StoredBinary
    dat_paths : dict of str to Path
        Its files by group, or copies of them.
    """
    from sort_assets.recordings import split_recording
    from sort_assets.recordings.dat_file import read_dat

    if dat_paths:
        return {group: (read_dat(path), path) for group, path in dat_paths.items()}
    preprocessed = binary_dat.preprocessed_recording
    recording, split_by = preprocessed.load(), preprocessed.config.recording.split_by
    groups = split_recording(recording, split_by) if split_by else {UNGROUPED: recording}
    return {group: (part, None) for group, part in groups.items()}


@dataclass(frozen=True)
class _Sorted:
    """What the sorts of all groups of channels found.

    Attributes
    ----------
    recording : BaseRecording
        Of the first group; all are as long.
    units : BaseSorting
        Of all groups together.
    found : dict of str to BaseSorting
        By group.
    folders : dict of str to Path
        The sorter's, by group.
    device : str
        On which they ran.
    chosen_by_shape : dict
        By group, the parameters that its shape decided.
    batch_samples : int or None
        Samples in a batch of the sorter.
    missing_parts : tuple of str
        What the recording lacks, in sentences.
    doubts : list of str
        What may be wrong with the units.
    missed : dict of str to MissedSpikesError
        By group that clearly has spikes of which the sorter found none, its failure.
    """

    recording: "BaseRecording"
    units: "BaseSorting"
    found: "dict[str, BaseSorting]"
    folders: dict[str, Path]
    device: str
    chosen_by_shape: "dict[str, ShapeChoices]"
    batch_samples: int | None
    missing_parts: tuple[str, ...]
    doubts: list[str]
    missed: dict[str, MissedSpikesError]

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return float(self.recording.get_duration())  # readers hand on numpy's numbers, which Dagster can't store

    @cached_property
    def counts(self) -> dict[Any, int]:
        """Number of spikes of each unit."""
        return {unit: int(count) for unit, count in self.units.count_num_spikes_per_unit(outputs="dict").items()}

    @cached_property
    def excess_spikes(self) -> int:
        """Spikes beyond the end of the recording, which were left out."""
        from sort_assets.backends.base import EXCESS_SPIKES

        return sum(int(one.get_annotation(EXCESS_SPIKES) or 0) for one in self.found.values())

    @cached_property
    def unsortable_groups(self) -> dict[str, str]:
        """By group in which there was nothing to sort, why."""
        from sort_assets.backends.base import UNSORTABLE

        errors = {group: one.get_annotation(UNSORTABLE) for group, one in self.found.items()}
        return {group: SortAssetsError.from_dict(error).message for group, error in errors.items() if error is not None}

    @property
    def unsortable(self) -> str | None:
        """Why there was nothing to sort in any group."""
        reasons = self.unsortable_groups
        return next(iter(reasons.values())) if len(reasons) == len(self.found) else None


def _publish(asset: StagedAsset, result: _Sorted, preflight: dg.AssetCheckResult) -> dg.MaterializeResult:
    from sort_assets.figures import draw_raster

    StoredSorting.write(result.units, asset.staging.path)
    asset.figure("raster", lambda: draw_raster(result.units, duration_s=result.duration_s))
    params = {group: asset.backend.effective_params(folder) for group, folder in result.folders.items()}
    details = _details(asset, result, params)
    return asset.publish(
        data_version=hash_sorting(result.units),
        details=details,
        metadata={
            **_metadata(asset, details),
            **_links_to_logs(asset, result.folders),
            "units_table": _units_table(result.counts, result.duration_s),
            "parameters_used": dg.MetadataValue.json(next(iter(params.values()))),
            **_shape_table(result.chosen_by_shape),
        },
        checks=[preflight, *_outcome_checks(result, details, asset), *_spike_checks(result)],
    )


def _details(asset: StagedAsset, result: _Sorted, params: dict[str, dict[str, Any]]) -> SortingDetails:
    from sort_assets.recordings.clock import recording_clock

    settings = asset.attempt.settings
    return SortingDetails(
        num_units=len(result.counts),
        num_spikes=int(result.units.to_spike_vector().size),
        excess_spikes=result.excess_spikes,
        duration_s=result.duration_s,
        start_time_s=float(result.recording.get_start_time()),
        clock=recording_clock(result.recording).to_dict(),
        device=result.device,
        effective_params=params,
        chosen_by_shape={
            group: {name: {"value": one.value, "reason": one.reason} for name, one in choices.items()}
            for group, choices in result.chosen_by_shape.items()
        },
        unsortable=result.unsortable,
        unsortable_groups=result.unsortable_groups,
        missed_groups={group: str(error) for group, error in result.missed.items()},
        degraded=bool(_lowered(asset) or result.missing_parts or result.missed),
        missing_parts=result.missing_parts,
        scaled=settings.scaled,
        failed_attempts=tuple(one.failure for one in asset.attempt.earlier),
        lesson=describe_origin(settings.profile),
    )


def _lowered(asset: StagedAsset) -> list[str]:
    """The fields that were lowered after out-of-memory and change the result."""
    return [name for name in asset.attempt.settings.scaled if name not in asset.backend.harmless_fields]


def _metadata(asset: StagedAsset, details: SortingDetails) -> dict[str, Any]:
    missed = details.missed_groups
    return {
        "units": details.num_units,
        "spikes": details.num_spikes,
        "sorter": asset.backend.name,
        "device": details.device,
        **({"unsortable": details.unsortable} if details.unsortable else {}),
        "degraded": details.degraded,
        **({"missed_groups": dg.MetadataValue.md(_listed(missed.values()))} if missed else {}),
        **({"missing_parts": dg.MetadataValue.md(_listed(details.missing_parts))} if details.missing_parts else {}),
        **({"scaled": format_scaled_fields(details.scaled)} if details.scaled else {}),
        **({"parameters_from": details.lesson} if details.lesson else {}),
        **({"failed_attempts": attempts_table(asset.attempt.earlier)} if asset.attempt.earlier else {}),
    }


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _outcome_checks(result: _Sorted, details: SortingDetails, asset: StagedAsset) -> list[dg.AssetCheckResult]:
    """That units were found, within the recording, with the configured parameters."""
    from sort_assets.checks.spikes import spikes_in_order

    in_order = spikes_in_order(result.units, int(result.recording.get_num_samples()))
    lowered = _lowered(asset)
    return [
        dg.AssetCheckResult(
            check_name=UNITS_CHECK,
            passed=details.num_units > 0 and not result.doubts and not result.missed,
            severity=dg.AssetCheckSeverity.ERROR if result.missed else dg.AssetCheckSeverity.WARN,
            description=(details.unsortable and f"There is nothing to sort: {details.unsortable}")
            or " ".join([*map(str, result.missed.values()), *result.doubts])
            or None,
            metadata={"units": details.num_units},
        ),
        dg.AssetCheckResult(
            check_name=INSIDE_CHECK,
            passed=in_order.passed and result.excess_spikes == 0,
            severity=dg.AssetCheckSeverity.WARN if in_order.passed else dg.AssetCheckSeverity.ERROR,
            description=in_order.description,
            metadata={**in_order.values, "left_out_beyond_the_end": result.excess_spikes},
        ),
        dg.AssetCheckResult(
            check_name=PARAMETERS_CHECK,
            passed=not lowered,
            severity=dg.AssetCheckSeverity.WARN,
            description=why_lowered(details.scaled, [one.error for one in asset.attempt.earlier]) if lowered else None,
            metadata={name: f"{before} -> {after}" for name, (before, after) in details.scaled.items()},
        ),
    ]


def _spike_checks(result: _Sorted) -> list[dg.AssetCheckResult]:
    from sort_assets.checks.batch_edges import holes_at_batch_edges
    from sort_assets.checks.spikes import duplicate_fraction
    from sort_assets.checks.stability import stability

    units = result.units
    return check_results(
        [
            holes_at_batch_edges(units, result.batch_samples),
            duplicate_fraction(units),
            stability(units, result.duration_s),
        ]
    )


def _shape_table(chosen: "dict[str, ShapeChoices]") -> dict[str, dg.TableMetadataValue]:
    """What the shape decided, if anything; groups for which it decided the same share a line."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for group, choices in chosen.items():
        for name, one in choices.items():
            groups.setdefault((name, str(one.value), one.reason), []).append(group)
    lines = [
        dg.TableRecord({"parameter": name, "value": value, "reason": reason, "groups": ", ".join(filter(None, of))})
        for (name, value, reason), of in groups.items()
    ]
    return {"chosen_by_shape": dg.MetadataValue.table(lines)} if lines else {}


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
