"""The `.dat`: the filtered recording, computed once and written in one streaming pass."""

import os
from dataclasses import asdict, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.checks.result import CheckResult, raise_first_error
from sort_assets.machine.preflight import inspect_disk
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_specs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.details import BinaryDetails
from sort_assets.platform.store.handles import UNGROUPED, StoredRecording
from sort_assets.recordings.reading import reading

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

    from sort_assets.recordings.dat_file import DatDescription
    from sort_assets.running.watchdogs.base import Watchdogs

COMPLETE_CHECK = "complete_and_not_clipped"
RESOLUTION_CHECK = "resolves_the_noise"
_CHECKS = {
    COMPLETE_CHECK: "Every file holds samples x channels values, and none of them was clipped.",
    RESOLUTION_CHECK: "A count of the file is small beside the noise; one huge artefact can make it too large.",
}
COARSEST_COUNT = 0.25
"""Largest size of a count, in standard deviations of the noise: coarser rounding adds more than 0.3 % to the noise."""


@dg.asset(
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("binary_dat"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "binary"},
    check_specs=check_specs("binary_dat", _CHECKS),
    description=(
        "The filtered recording as a flat binary file, one per group when the recording is split. Sorters and "
        "waveforms read it memory-mapped."
    ),
)
def binary_dat(
    context: dg.AssetExecutionContext,
    preprocessed_recording: StoredRecording,
    backend: dg.ResourceParam[RecordingConfigResolver],
) -> dg.MaterializeResult:
    with (
        staged(context, backend, preprocessed_recording=preprocessed_recording) as asset,
        reading(asset.raw_path),
    ):
        from sort_assets.platform.pipeline.progress import StepObserver
        from sort_assets.recordings import split_recording
        from sort_assets.recordings.dat_file import read_description

        if not asset.backend.writes_dat:
            return asset.publish(
                data_version=hash_json({"needed": False, "recording": preprocessed_recording.manifest.data_version}),
                details=BinaryDetails(dat_files={}),
                metadata={"dat": f"Not needed: {asset.backend.name} reads the recording itself.", "bytes": 0},
                checks=[
                    dg.AssetCheckResult(check_name=name, passed=True) for name in (COMPLETE_CHECK, RESOLUTION_CHECK)
                ],
            )
        recording = preprocessed_recording.load()
        raise_first_error([inspect_room(asset, recording)])
        split_by = preprocessed_recording.config.recording.split_by
        groups = split_recording(recording, split_by) if split_by else {UNGROUPED: recording}
        dat_files: dict[str, str] = {}
        written: dict[str, DatDescription] = {}
        start = perf_counter()
        with writing_watchdogs(asset):
            for index, (group, part) in enumerate(groups.items()):
                name = "traces.dat" if group == UNGROUPED else f"group-{index}/traces.dat"
                dat_path = asset.staging.path / name
                dat_path.parent.mkdir(exist_ok=True)
                what = f"binary_dat of {context.partition_key}"
                what += f", {split_by} {group}" if group != UNGROUPED else ""
                asset.backend.observer = StepObserver(context.log.info, context.log.warning, what)
                asset.backend.write_recording(part, dat_path)
                dat_files[group] = name
                written[group] = read_description(dat_path)
        seconds = perf_counter() - start
        num_bytes = sum(description.num_bytes for description in written.values())
        return asset.publish(
            data_version=hash_json({group: for_data_version(description) for group, description in written.items()}),
            details=BinaryDetails(dat_files=dat_files),
            metadata={
                "bytes": num_bytes,
                "mb_per_s": num_bytes / 1e6 / seconds,
                "gain_to_uv": max(description.gain_to_uv for description in written.values()),
                "peak_uv": max(description.peak_uv for description in written.values()),
                "files": _table(dat_files, written),
            },
            checks=[_check_complete(written), _check_resolution(written)],
        )


def for_data_version(description: "DatDescription") -> dict[str, Any]:
    """What a data version is made of.

    The clock is left out where it says no more than the starts of the files and their rate, which are in there: so the
    data versions of earlier stores, which have no clock, stay the same. So is the noise, which is found in the samples.
    """
    from sort_assets.recordings.clock import ANNOTATION, Clock, clock_from_start, join_clocks

    files, clocks = description.annotations.get("boundaries"), description.annotations.get(ANNOTATION)
    if not files or not clocks:
        return _without_noise(description)
    known = join_clocks(
        [
            clock_from_start(
                file["end_sample"] - file["start_sample"], description.sampling_frequency, file["start_time_s"]
            )
            for file in files
        ]
    )
    if [Clock.from_dict(clock).pieces for clock in clocks] != [known.pieces]:
        return _without_noise(description)
    annotations = {name: value for name, value in description.annotations.items() if name != ANNOTATION}
    return _without_noise(replace(description, annotations=annotations))


def _without_noise(description: "DatDescription") -> dict[str, Any]:
    return {name: value for name, value in asdict(description).items() if name != "median_noise_uv"}


def inspect_room(asset: StagedAsset, recording: "BaseRecording") -> CheckResult:
    """Look whether the `.dat` of a recording fits into the store, beside what is to stay free there."""
    config = asset.config
    itemsize = 2 if config.recording.dat_dtype == "int16" else 4
    reserve = int((config.execution.min_free_disk_gb or 0) * 1e9)
    expected_bytes = recording.get_num_samples() * recording.get_num_channels() * itemsize
    return inspect_disk(asset.staging.path, expected_bytes + reserve)


def writing_watchdogs(asset: StagedAsset) -> "Watchdogs":
    """What watches over the writing: a disk that fills up, and a disk or share that does not answer."""
    from sort_assets.running.in_process import InProcessTerminator
    from sort_assets.running.watchdogs.activity import ProcessActivity
    from sort_assets.running.watchdogs.base import Watchdog, Watchdogs
    from sort_assets.running.watchdogs.free_disk import FreeDiskWatchdog
    from sort_assets.running.watchdogs.io_stall import IoStallWatchdog

    execution = asset.config.execution
    terminator = InProcessTerminator(execution.terminate_grace_s)
    watchdogs: list[Watchdog] = []
    if execution.min_free_disk_gb is not None:
        watchdogs.append(FreeDiskWatchdog(asset.staging.path, execution.min_free_disk_gb, terminator))
    if execution.io_stall_timeout_s is not None:
        watchdogs.append(IoStallWatchdog(execution.io_stall_timeout_s, ProcessActivity(os.getpid()), terminator))
    return Watchdogs(watchdogs)


def _table(dat_files: dict[str, str], written: "dict[str, DatDescription]") -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "file": dat_files[group],
                    "group": group or "all channels",
                    "channels": len(description.channel_ids),
                    "samples": description.num_samples,
                    "bytes": description.num_bytes,
                    "gain_to_uv": description.gain_to_uv,
                    "checksum": f"blake2b {description.blake2b}",
                }
            )
            for group, description in written.items()
        ]
    )


def _check_complete(written: "dict[str, DatDescription]") -> dg.AssetCheckResult:
    """The files' sizes were checked when their descriptions were read; here is whether the values fitted."""
    from sort_assets.recordings.dat_chunks import INT16_MAX

    used = {
        group or "all channels": description.peak_uv / (description.gain_to_uv * INT16_MAX)
        for group, description in written.items()
        if description.dtype == "int16"
    }
    return dg.AssetCheckResult(
        check_name=COMPLETE_CHECK,
        passed=all(fraction <= 1 for fraction in used.values()),
        metadata={f"full scale used, {group}": fraction for group, fraction in used.items()},
    )


def _check_resolution(written: "dict[str, DatDescription]") -> dg.AssetCheckResult:
    counts_per_noise = {
        group or "all channels": description.median_noise_uv / description.gain_to_uv
        for group, description in written.items()
        if description.dtype == "int16" and description.median_noise_uv is not None
    }
    passed = all(counts >= 1 / COARSEST_COUNT for counts in counts_per_noise.values())
    return dg.AssetCheckResult(
        check_name=RESOLUTION_CHECK,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=None
        if passed
        else "The noise is only a few counts: the recording is silent, or a huge artefact set the scale. Cut the "
        "artefact out with recording.start_s and recording.end_s, or set recording.dat_dtype to float32.",
        metadata={f"noise in counts, {group}": counts for group, counts in counts_per_noise.items()},
    )
