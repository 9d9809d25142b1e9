"""The preprocessed recording: how to open, scale, clean and filter the raw file. Its samples are not stored here."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.checks.result import CheckResult, warning
from sort_assets.config import RecordingConfig
from sort_assets.platform.pipeline.assets.binary_dat import inspect_room
from sort_assets.platform.pipeline.assets.observed import raw_recording, recording_settings
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_results, check_specs, preflight_check
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.details import RecordingDetails
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey
from sort_assets.recordings.reading import reading

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import BaseRecording

READY_CHECK = "ready_to_sort"
_CHECKS = {
    READY_CHECK: "A few seconds of the recording, its probe and its length show nothing that spoils a sort.",
    "noise_level": "The noise is plausible, and as usual on this rig.",
    "clock": "Each sample follows the one before, at the rate that the file states.",
    "complete": "The recording is whole; where recording.accept_incomplete lets it pass, the results are degraded.",
}
CODE_VERSION = "1"
_NOISE_SEED = 0
_NOISE_CHUNKS = 10


@dg.asset(
    partitions_def=recordings,
    deps=[raw_recording, recording_settings],
    group_name=GROUP,
    owners=OWNERS,
    code_version=CODE_VERSION,
    op_tags=step_tags("preprocessed_recording"),
    retry_policy=CRASH_RETRIES,
    kinds={"python"},
    # Not blocking: the asset that can't go on says so itself, with class and remedy, where a blocked one would only be
    # skipped; and binary_dat looks at every sample.
    check_specs=check_specs("preprocessed_recording", _CHECKS),
    description=(
        "The recording scaled to microvolts, without its bad channels, band-pass filtered. Nothing is computed over "
        "the whole recording here: what is stored is how to do it, the probe, and what was found in samples."
    ),
)
def preprocessed_recording(
    context: dg.AssetExecutionContext, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend) as asset, reading(asset.raw_path):
        import numpy as np

        from sort_assets.backends import create_backend
        from sort_assets.curation.curate import check_unit_settings
        from sort_assets.recordings import boundaries, split_recording
        from sort_assets.recordings.channel_count import inspect_channel_count
        from sort_assets.recordings.clock import recording_clock
        from sort_assets.recordings.clock_check import clock, doubts_about_times
        from sort_assets.recordings.completeness import complete, missing_parts
        from sort_assets.recordings.fingerprint import fingerprint
        from sort_assets.recordings.preflight import inspect_recording, inspect_reference
        from sort_assets.recordings.probe_files import probe_fingerprint

        key = RecordingKey.parse(context.partition_key)
        raw_path = asset.raw_path
        asset.backend.check_ready()
        check_unit_settings(asset.config)
        frozen = create_backend(asset.backend.freeze_recording(raw_path, asset.staging.path))
        frozen.frozen_folder = asset.staging.path
        filtered = frozen.load_recording(raw_path)
        split_by = frozen.config.recording.split_by
        for part in split_recording(filtered, split_by).values() if split_by else [filtered]:
            asset.backend.check_recording(part, raw_path)
        removed: Mapping[str, str] = filtered.get_annotation("removed_channels") or {}
        seen = fingerprint(raw_path)
        probe_file = asset.config.recording.probe_file
        replaced = probe_fingerprint(raw_path, probe_file, key.stream)
        probe = {} if replaced is None else {"probe_fingerprint": replaced}
        whole = _open_raw(asset, raw_path)
        raw = _as_long_as(filtered, whole, frozen.config.recording)
        noise = _draw(asset, raw, filtered, removed)
        noise_uv = float(np.median(noise))
        results = inspect_recording(
            filtered,
            raw=raw,
            split_by=split_by,
            batch_samples=asset.backend.batch_samples_for(filtered),
            minimum_channels=asset.backend.minimum_channels,
            needs_probe=asset.backend.needs_probe,
        )
        results += inspect_reference(filtered, frozen.config.recording)
        results += inspect_channel_count(raw_path, frozen.config.recording)
        if asset.backend.writes_dat:
            results.append(_room(asset, filtered))
        chain = {
            "raw": key.path,
            "fingerprint": seen,
            "sorter": asset.config.sorter.name,
            "recording": asset.config.recording.for_data_version(),
            "code": CODE_VERSION,
            **probe,
            # Only where it matters, so that all other data versions stay those of earlier versions.
            **({"joins": "bridged"} if recording_clock(filtered).joins else {}),
        }
        files = boundaries(filtered)
        asset.shape = filtered.get_num_channels(), int(filtered.get_num_samples())
        return asset.publish(
            data_version=hash_json(chain),
            details=RecordingDetails(
                raw_path=key.path,
                fingerprint=seen,
                **probe,
                frozen_config=frozen.config.model_dump(mode="json"),
                channels=filtered.get_num_channels(),
                sampling_hz=float(filtered.sampling_frequency),
                median_noise_uv=noise_uv,
                clock_start_s=recording_clock(whole).start_time_s,
                begins_in_file_s=_begins_in_file_s(whole, frozen.config.recording),
                missing_parts=missing_parts(filtered),
                clock_doubts=doubts_about_times(filtered),
            ),
            metadata={
                "channels": filtered.get_num_channels(),
                "sampling_hz": float(filtered.sampling_frequency),
                "duration_s": float(filtered.get_duration()),
                "median_noise_uv": noise_uv,
                "bad_channels": len(removed),
                **({"removed_channels": _channel_table(removed)} if removed else {}),
                **({"files": _file_table(files)} if len(files) > 1 else {}),
                "degraded": bool(missing_parts(filtered)),
            },
            checks=[
                preflight_check(READY_CHECK, results),
                _usual_noise(asset, noise),
                *check_results([clock(filtered), complete(filtered)]),
            ],
        )


def _usual_noise(asset: StagedAsset, noise_uv: "np.ndarray") -> dg.AssetCheckResult:
    """Against what is plausible, and what other recordings of this rig came to."""
    from sort_assets.checks.usual_on_rig import noise_level
    from sort_assets.platform.pipeline.rig_history import rig_history

    history = rig_history(
        Store(asset.roots.store),
        asset.staging.recording,
        channels=len(noise_uv),
        sorter=asset.config.sorter.name,
    )
    (result,) = check_results([noise_level(noise_uv, history.noise_uv)])
    return result


def _room(asset: StagedAsset, filtered: "BaseRecording") -> CheckResult:
    """Whether the `.dat` is going to fit. Until it is written, others may make room, or need it."""
    room = inspect_room(asset, filtered)
    return room if room.error is None else warning(room.name, room.description, room.remedy)


def _open_raw(asset: StagedAsset, raw_path: Path) -> "BaseRecording":
    """The whole raw recording."""
    from sort_assets.recordings import open_recording
    from sort_assets.recordings.opening import join_segments

    return join_segments(open_recording(raw_path, config=asset.config.recording))


def _begins_in_file_s(whole: "BaseRecording", config: RecordingConfig) -> float | None:
    from sort_assets.recordings import boundaries
    from sort_assets.recordings.files_in_time import seconds_into_file

    rate_hz = float(whole.sampling_frequency)
    return seconds_into_file(boundaries(whole), round(config.start_s * rate_hz), rate_hz)


def _as_long_as(filtered: "BaseRecording", whole: "BaseRecording", config: RecordingConfig) -> "BaseRecording":
    """The raw recording on the time axis of the filtered one."""
    from sort_assets.recordings.bridges import add_bridges, plan_bridges
    from sort_assets.recordings.preprocessing import cut_to_range

    raw = cut_to_range(whole, config)
    raw = add_bridges(raw, [bridge for bridge in plan_bridges(raw, config) if bridge.filled])
    return raw.frame_slice(0, min(raw.get_num_samples(), round(filtered.get_duration() * raw.sampling_frequency)))


def _draw(
    asset: StagedAsset, raw: "BaseRecording", filtered: "BaseRecording", removed: Mapping[str, str]
) -> "np.ndarray":
    """Draw the figures; returns the noise of each channel, in microvolts."""
    from spikeinterface.core import get_noise_levels

    from sort_assets.figures import draw_noise_levels, draw_probe, draw_traces

    noise = get_noise_levels(
        filtered,
        return_in_uV=True,
        random_slices_kwargs={"seed": _NOISE_SEED, "num_chunks_per_segment": _NOISE_CHUNKS},
        progress_bar=False,
    )
    asset.figure("probe", lambda: draw_probe(raw, removed_channels=removed))
    asset.figure("traces", lambda: draw_traces(raw, filtered, start_s=filtered.get_duration() / 2))
    asset.figure("noise", lambda: draw_noise_levels(noise, filtered.channel_ids, removed_channels=removed))
    noise_uv: np.ndarray = noise
    return noise_uv


def _channel_table(removed: Mapping[str, str]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({"channel": channel, "reason": reason}) for channel, reason in removed.items()]
    )


def _file_table(files: list[Any]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"file": file.name, "start_sample": file.start_sample, "end_sample": file.end_sample})
            for file in files
        ]
    )
