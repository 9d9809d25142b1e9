"""How well the sorter finds the units that were injected into a recording."""

import json
import math
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.checks.recall import CHECK as RECALL_CHECK
from sort_assets.checks.recall import recall_as_usual
from sort_assets.checks.result import CheckResult, raise_first_error
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.accuracy_history import Measurement, measurements_on_rig, recalls_before
from sort_assets.platform.pipeline.assets.binary_dat import inspect_room, writing_watchdogs
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_results, check_specs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.extra_sort import sort_on_device
from sort_assets.platform.pipeline.jobs import ACCURACY_PRIORITY, PRIORITY_TAG
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.rig_history import Rig, first_folder
from sort_assets.platform.pipeline.tables import plain_value
from sort_assets.platform.store.content_hash import hash_table
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_hybrid import QUALITY_FILE, AccuracyDetails, StoredHybrid

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseRecording

ACCURACY_FILE = "injected_units.parquet"
_SHOWN = ("donor", "snr", "amplitude_uv", "depth_um", "spikes", "found_as", "recall", "precision", "accuracy")


@dg.asset(
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    kinds={"python", "gpu"},
    pool=GPU_POOL,
    op_tags={**step_tags("hybrid_accuracy"), PRIORITY_TAG: str(ACCURACY_PRIORITY)},
    retry_policy=CRASH_RETRIES,
    check_specs=check_specs(
        "hybrid_accuracy",
        {RECALL_CHECK: "Injected units are found as often as usual on this rig; passes while its history is short."},
    ),
    description=(
        "Recall, precision and accuracy of the injected units, sorted as the recording was: by amplitude, "
        "signal-to-noise ratio and depth. Made on demand, with the job measure_accuracy."
    ),
)
def hybrid_accuracy(
    context: dg.AssetExecutionContext,
    hybrid_recording: StoredHybrid,
    backend: dg.ResourceParam[RecordingConfigResolver],
) -> dg.MaterializeResult:
    with staged(context, backend, hybrid_recording=hybrid_recording) as asset:
        from sort_assets.figures import draw_accuracy
        from sort_assets.hybrid.accuracy import accuracy_table, measure_accuracy, overall
        from sort_assets.metrics.tables import write_table
        from sort_assets.reports.accuracy_tables import accuracy_groups

        if (published := asset.published_before()) is not None:
            return published
        asset.backend.check_ready()
        raw_path = hybrid_recording.sorting.binary_dat.preprocessed_recording.raw_path
        work = asset.staging.path / "work"
        recording, dat_path = write_to_sort(asset, hybrid_recording.load(), work)
        asset.shape = int(recording.get_num_channels()), int(recording.get_num_samples())
        found, device = sort_on_device(
            asset, recording, raw_path=raw_path, dat_path=dat_path, folder=asset.staging.path / "sorter"
        )
        measured = measure_accuracy(hybrid_recording.units, hybrid_recording.load_truth(), found)
        every, table = overall(measured), accuracy_table(measured)
        StoredSorting.write(found, asset.staging.path)
        duration_s = float(recording.get_duration())
        del recording  # closes the file: on NFS, one that is open leaves another behind
        shutil.rmtree(work)  # as large as the recording, and made again from what is injected
        write_table(table, asset.staging.path / ACCURACY_FILE)
        details = AccuracyDetails(
            units=tuple(one.to_dict() for one in measured),
            recall=_known(every.recall.value),
            precision=_known(every.precision.value),
            found_well=every.found_well,
            channels=hybrid_recording.details.channels,
            device=device,
            duration_s=duration_s,
            num_units_found=int(found.get_num_units()),
        )
        check = recall_as_usual(every.recall.value, every.units, _recalls_before(asset, details))
        asset.figure("accuracy", lambda: draw_accuracy(accuracy_groups(measured)))
        version = hash_table(table)
        _write_page(asset, details, version, check)
        return asset.publish(
            data_version=version,
            details=details,
            first={"quality": dg.MetadataValue.md(f"[**Open the page of this rig**]({asset.address(QUALITY_FILE)})")},
            metadata={
                "recall": plain_value(every.recall.value),
                "precision": plain_value(every.precision.value),
                "found_well": f"{every.found_well} of {every.units}",
                "sorter": asset.backend.name,
                "device": device,
                "units_found": details.num_units_found,
                "injected_units": _shown(table),
            },
            checks=check_results([check]),
        )


def write_to_sort(asset: StagedAsset, hybrid: "BaseRecording", folder: Path) -> "tuple[BaseRecording, Path | None]":
    """Write the samples of a recording with injected units, as the asset's backend sorts them.

    Parameters
    ----------
    asset : StagedAsset
    hybrid : BaseRecording
    folder : Path
        Is made, and can be removed once the samples are sorted.

    Returns
    -------
    recording : BaseRecording
        What to sort.
    dat_path : Path or None
        Its `.dat`, for a backend that takes one.
    """
    from sort_assets.platform.pipeline.progress import StepObserver
    from sort_assets.recordings.dat_file import read_dat, write_dat

    raise_first_error([inspect_room(asset, hybrid)])
    folder.mkdir()
    dat_path, log = folder / "traces.dat", asset.context.log
    asset.backend.observer = StepObserver(log.info, log.warning, f"the hybrid recording of {asset.staging.recording}")
    with writing_watchdogs(asset):
        if asset.backend.writes_dat:
            asset.backend.write_recording(hybrid, dat_path)
        else:
            write_dat(hybrid, dat_path, dtype="float32", n_jobs=asset.job_kwargs["n_jobs"])
    return read_dat(dat_path), dat_path if asset.backend.writes_dat else None


def _recalls_before(asset: StagedAsset, details: AccuracyDetails) -> list[float]:
    staging = asset.staging
    return recalls_before(
        Store(asset.roots.store),
        staging.recording,
        staging.version,
        channels=details.channels,
        sorter=asset.config.sorter.name,
    )


def _write_page(asset: StagedAsset, details: AccuracyDetails, data_version: str, check: CheckResult) -> None:
    """The page of the rig, with this measurement and the newest of its other recordings."""
    from sort_assets.reports.quality_report import RigMeasurement, write_quality_report

    staging, sorter = asset.staging, asset.config.sorter
    rig = Rig(first_folder(staging.recording), details.channels, sorter.name)
    now = datetime.now(UTC)
    this = Measurement(staging.recording, staging.version, now, data_version, details, sorter.name, sorter.params)
    earlier = [one for one in measurements_on_rig(Store(asset.roots.store), rig) if one.recording != staging.recording]
    write_quality_report(
        staging.figures / QUALITY_FILE,
        rig=rig.words,
        measurements=[
            RigMeasurement(one.recording, one.made, one.sorter, _in_words(one.params), tuple(one.units))
            for one in (this, *earlier)
        ],
        check=check,
        written_at=now,
        config=asset.config.model_dump(mode="json"),
        chosen_by=asset.attempt.settings.configured.chosen,
    )


def _in_words(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {json.dumps(value, default=str)}" for name, value in sorted(params.items()))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(table: "pd.DataFrame") -> dg.TableMetadataValue:
    columns = [dg.TableColumn("unit"), *(dg.TableColumn(name) for name in _SHOWN)]
    rows = [
        dg.TableRecord({"unit": str(unit), **{name: plain_value(row[name]) for name in _SHOWN}})
        for unit, row in table.iterrows()
    ]
    return dg.MetadataValue.table(rows, schema=dg.TableSchema(columns))
