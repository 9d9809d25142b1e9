"""The delivery: curated units in the forms that analyses read."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config import RecordingConfig
from sort_assets.curation.decisions import decision_columns
from sort_assets.metrics.columns import UNIT_METRICS
from sort_assets.platform.pipeline.assets.observed import delivery_settings
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_specs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.details import DeliveryDetails
from sort_assets.platform.store.handles import StoredCuration
from sort_assets.recordings.key import RecordingKey

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

    from sort_assets.exports.delivery import Delivery
    from sort_assets.recordings.clock import Clock
    from sort_assets.recordings.opening import Boundary

FACTS_CHECK = "session_and_subject_known"
FOLDER = "delivery"


@dg.asset(
    partitions_def=recordings,
    deps=[delivery_settings],
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("spike_data"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "file"},
    check_specs=check_specs(
        "spike_data",
        {FACTS_CHECK: "Nothing is absent that archives ask of session and subject, nor else of the delivery."},
    ),
    description=(
        "The curated units as files: NWB, npz, MATLAB, a Phy folder, a pynapple TsGroup, as configured; concatenated "
        "recordings also split back into their files. A README beside them says how to read each, and what is absent."
    ),
)
def spike_data(
    context: dg.AssetExecutionContext, curated_units: StoredCuration, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, curated_units=curated_units) as asset:
        from sort_assets.figures import draw_raster

        delivery, analyzer, table = _deliver(asset, curated_units)
        kept = analyzer.sorting.select_units(analyzer.unit_ids[table["kept"].to_numpy(bool)])
        duration_s = curated_units.sorting.details.duration_s
        asset.figure("kept units", lambda: draw_raster(kept, duration_s=duration_s))
        final = asset.staging.final_path
        files: list[dict[str, str | int]] = [
            {
                "file": one.path.relative_to(asset.staging.path).as_posix(),
                "format": one.format,
                "units": one.num_units,
                "bytes": one.num_bytes,
            }
            for one in delivery.files
        ]
        absent = list(delivery.absent)
        return asset.publish(
            data_version=delivery.content,
            details=DeliveryDetails(files=tuple(str(one["file"]) for one in files), absent=tuple(absent)),
            metadata={
                "units": len(table) if asset.config.delivery.include_failed_units else int(table["kept"].sum()),
                "delivered_to": dg.MetadataValue.path(final / FOLDER),
                "files": dg.MetadataValue.table(
                    [dg.TableRecord(one) for one in files],
                    schema=dg.TableSchema(
                        [
                            *(dg.TableColumn("file"), dg.TableColumn("format")),
                            *(dg.TableColumn("units", "int"), dg.TableColumn("bytes", "int")),
                        ]
                    ),
                ),
                **({"absent": dg.MetadataValue.md("\n".join(f"- {one}" for one in absent))} if absent else {}),
            },
            checks=[
                dg.AssetCheckResult(
                    check_name=FACTS_CHECK,
                    passed=not absent,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=" ".join([*absent, _REMEDY]) if absent else None,
                    metadata={"absent": len(absent)},
                )
            ],
        )


_REMEDY = "State what is known under `session` and `subject` in sort_assets.yaml, or in a sidecar beside the recording."


def _deliver(asset: StagedAsset, curated_units: StoredCuration) -> "tuple[Delivery, SortingAnalyzer, pd.DataFrame]":
    """What was written, the analyzer of all curated units, and their table of metrics and decisions."""
    from sort_assets.exports.delivery import write_delivery
    from sort_assets.exports.session import facts_of_files, left_out_s, session_facts
    from sort_assets.exports.units import delivered_units
    from sort_assets.platform.pipeline.recording_rules import RecordingRules
    from sort_assets.recordings import boundaries
    from sort_assets.recordings.files_in_time import file_of_part

    recording = asset.staging.recording
    sorting = curated_units.sorting
    binary = sorting.binary_dat
    preprocessed = binary.preprocessed_recording
    raw_path, config = preprocessed.raw_path, asset.config
    analyzer = curated_units.load_analyzer(job_kwargs=asset.job_kwargs)
    table = curated_units.table()
    files = boundaries(analyzer.recording) if analyzer.has_recording() else []
    units = delivered_units(
        analyzer,
        table,
        config.delivery,
        clock=sorting.clock or _clock_of_files(analyzer, files, sorting.details.start_time_s),
        waveform=curated_units.unit_metrics.waveforms.waveform_config,
        missing_parts=sorting.details.missing_parts,
        clock_doubts=preprocessed.details.clock_doubts,
        missed_groups=tuple(sorting.details.missed_groups.values()),
        name=RecordingKey.parse(recording).path.rpartition("/")[2],
        columns=(*UNIT_METRICS, *decision_columns(curated_units.config)),
    )
    stated = RecordingRules(asset.roots).settings(recording)
    format_name = _format_name(raw_path, preprocessed.config.recording)
    cut_s = left_out_s(preprocessed.config.recording.start_s, preprocessed.details.clock_start_s, units.start_time_s)
    into_s = preprocessed.details.begins_in_file_s
    begins_in = None if into_s is None or not files else (file_of_part(files[0].name), into_s)
    facts = session_facts(raw_path, format_name, stated, cut_s=cut_s, begins_in=begins_in)
    of_files = (
        facts_of_files(raw_path, format_name, stated, files, cut_s=cut_s, begins_in=begins_in)
        if len(files) > 1
        else None
    )
    paths = list(binary.dat_paths.values())
    delivery = write_delivery(
        asset.staging.path / FOLDER,
        analyzer,
        units,
        config.delivery,
        facts,
        files,
        file_facts=of_files,
        dat_path=paths[0] if len(paths) == 1 else None,
        job_kwargs=asset.job_kwargs,
        suggested_merges=curated_units.suggested_merges(),
    )
    return delivery, analyzer, table


def _clock_of_files(analyzer: "SortingAnalyzer", files: "list[Boundary]", start_time_s: float) -> "Clock":
    """The clock of a sorting that was made before there were clocks: the starts of its files, and the rate."""
    from sort_assets.recordings.clock import clock_from_start, join_clocks

    rate_hz = float(analyzer.sampling_frequency)
    if len(files) < 2:
        return clock_from_start(int(analyzer.get_total_samples()), rate_hz, start_time_s)
    return join_clocks(
        [clock_from_start(file.end_sample - file.start_sample, rate_hz, file.start_time_s) for file in files]
    )


def _format_name(raw_path: Path, config: RecordingConfig) -> str:
    """Of the recording, or of the files of which it consists; empty when it is gone."""
    from sort_assets.recordings.formats.table import find_format, folder_members

    if not raw_path.exists():
        return ""
    found = find_format(raw_path, config)
    members = folder_members(raw_path, config) if found is None else [(raw_path, found)]
    return members[0][1].name if members else ""
