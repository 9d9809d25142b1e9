"""A stretch of a recording with known units in it: what is injected, where and when."""

import zlib
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.errors import InjectionError, MissingProbeError
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.content_hash import hash_arrays
from sort_assets.platform.store.handles import UNGROUPED, StoredMetrics, StoredSorting
from sort_assets.platform.store.stored_hybrid import TEMPLATES_FILE, HybridBase, HybridDetails

if TYPE_CHECKING:
    from sort_assets.hybrid.placement import InjectedUnit


@dg.asset(
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("hybrid_recording"),
    retry_policy=CRASH_RETRIES,
    kinds={"python"},
    description=(
        "Well-isolated units of the recording, at other depths and with other amplitudes, to be injected into a "
        "stretch of it at known times. Made on demand, with the job measure_accuracy; it takes hardly any disk."
    ),
)
def hybrid_recording(
    context: dg.AssetExecutionContext, unit_metrics: StoredMetrics, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, unit_metrics=unit_metrics) as asset:
        import numpy as np

        from sort_assets.figures import draw_raster
        from sort_assets.hybrid.donors import choose_donors
        from sort_assets.hybrid.injection import draw_spikes
        from sort_assets.hybrid.placement import place_units

        sorting = unit_metrics.waveforms.sorting
        _refuse_groups(sorting)
        analyzer = unit_metrics.waveforms.load()
        if analyzer.rec_attributes["probegroup"] is None:
            raise MissingProbeError(
                "The recording has no channel locations, so that no unit can be moved along its probe.",
                remedy="Name a probe file with recording.probe_file, and sort the recording again.",
            )
        templates = analyzer.get_extension("templates")
        donors = choose_donors(templates.get_data(operator="average"), unit_metrics.load())
        rate_hz, num_samples = float(analyzer.sampling_frequency), int(sorting.load_recording().get_num_samples())
        length = min(num_samples, round(asset.config.hybrid.minutes * 60 * rate_hz))
        start = (num_samples - length) // 2
        seed = zlib.crc32(context.partition_key.encode())
        units = place_units(
            donors,
            analyzer.get_channel_locations(),
            analyzer.get_extension("noise_levels").get_data(),
            num_units=asset.config.hybrid.units,
            duration_s=length / rate_hz,
            seed=seed,
        )
        truth = draw_spikes(
            units,
            sampling_hz=rate_hz,
            start=0,
            end=length,
            before=templates.nbefore,
            after=templates.nafter,
            seed=seed,
        )
        StoredSorting.write(truth, asset.staging.path)
        templates_uv = np.stack([unit.template_uv for unit in units]).astype(np.float32)
        np.save(asset.staging.path / TEMPLATES_FILE, templates_uv)
        drifting = HybridBase(sorting).is_corrected
        asset.figure("injected spikes", lambda: draw_raster(truth, duration_s=length / rate_hz))
        spikes = truth.to_spike_vector()
        return asset.publish(
            data_version=hash_arrays(
                templates=templates_uv,
                samples=spikes["sample_index"],
                unit_of_spike=spikes["unit_index"],
                recording=np.array([sorting.binary_dat.manifest.data_version, str(start)]),
            ),
            details=HybridDetails(
                units=tuple(unit.to_dict() for unit in units),
                num_spikes=int(spikes.size),
                before=int(templates.nbefore),
                start_sample=start,
                end_sample=start + length,
                seed=seed,
                drifting=drifting,
                channels=int(analyzer.get_num_channels()),
            ),
            metadata={
                "units": len(units),
                "spikes": int(spikes.size),
                "donors": ", ".join(donor.unit_id for donor in donors),
                "from_s": start / rate_hz,
                "to_s": (start + length) / rate_hz,
                "drift": "The units follow the motion that was estimated when the recording was preprocessed."
                if drifting
                else "The units stay in place: no motion was estimated when the recording was preprocessed.",
                "injected": _table(units),
            },
        )


def _refuse_groups(sorting: StoredSorting) -> None:
    groups = [group for group in sorting.details.effective_params if group != UNGROUPED]
    if groups or sorting.binary_dat.preprocessed_recording.config.recording.split_by:
        raise InjectionError(
            "The recording is split into groups of channels that are sorted one by one: along a tetrode, or between "
            "groups, no unit can be moved.",
            remedy="Choose a recording that is sorted as a whole.",
        )


def _table(units: "list[InjectedUnit]") -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "unit": unit.unit_id,
                    "donor": unit.donor,
                    "snr": round(unit.snr, 2),
                    "amplitude_uv": round(unit.amplitude_uv, 1),
                    "depth_um": round(unit.depth_um, 1),
                    "moved_um": round(unit.displacement_um, 1),
                    "rate_hz": round(unit.firing_rate_hz, 2),
                }
            )
            for unit in units
        ]
    )
