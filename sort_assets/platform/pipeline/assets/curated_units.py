"""Which units are kept, and why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.curation.criteria import criteria_of
from sort_assets.curation.decisions import DECISIONS, decision_columns
from sort_assets.errors import ConfigError, MissingRecordingError
from sort_assets.platform.pipeline.assets.observed import curation_settings, manual_curation
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_results, check_specs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.manual_decisions import manual_curation_of
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.tables import column_schema, units_table
from sort_assets.platform.store.content_hash import hash_arrays, hash_sorting, hash_table
from sort_assets.platform.store.details import CurationDetails
from sort_assets.platform.store.handles import StoredMetrics, StoredSorting
from sort_assets.platform.store.layout import DECISIONS_FILE, HISTORY_FILE, METRICS_FILE, SUGGESTED_MERGES_FILE
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

    from sort_assets.curation.curate import CuratedUnits
    from sort_assets.curation.manual import ManualCuration
    from sort_assets.metrics.unit_metrics import UnitMetrics

KEPT_CHECK = "units_kept"
PERSON_CHECK = "persons_work_applied"
_CHECKS = {
    KEPT_CHECK: "Of the units found, some are kept.",
    PERSON_CHECK: "What a person decided is about the present sorting, and applied. Passes without any.",
    "yield_as_usual": "About as many units are kept as usual on this rig; passes while its history is short.",
}


@dg.asset(
    partitions_def=recordings,
    deps=[curation_settings, manual_curation],
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("curated_units"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "pandas"},
    metadata={"dagster/column_schema": column_schema(DECISIONS)},
    check_specs=check_specs("curated_units", _CHECKS),
    description=(
        "Of every unit, whether it is kept, each criterion's value and verdict, and the reason; duplicates "
        "removed, merges suggested. What a person decided goes on top. The history can be replayed."
    ),
)
def curated_units(
    context: dg.AssetExecutionContext, unit_metrics: StoredMetrics, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, unit_metrics=unit_metrics) as asset:
        from sort_assets.curation.curate import curate
        from sort_assets.curation.history import plain_ids
        from sort_assets.curation.merging import undecided_merges
        from sort_assets.figures import draw_kept_fraction_bar, draw_metric_histograms
        from sort_assets.metrics.tables import write_table
        from sort_assets.metrics.unit_metrics import UnitMetrics

        analyzer = unit_metrics.waveforms.load()
        manual, not_applied = _manual_decisions(asset, unit_metrics)
        measure = _measure(asset, analyzer)
        whole = asset.config.curation.epoch is None
        decided_on = UnitMetrics(unit_metrics.load(), unit_metrics.failed) if whole else measure(analyzer)
        curated = curate(
            analyzer,
            decided_on,
            asset.config.curation,
            manual=manual,
            measure=measure,
            job_kwargs=asset.job_kwargs,
        )
        folder = asset.staging.path
        curated.sorting.set_property("reason", curated.table["reason"].to_numpy(str))
        StoredSorting.write(curated.sorting, folder)
        write_table(curated.table, folder / DECISIONS_FILE)
        write_table(curated.metrics.table, folder / METRICS_FILE)
        (folder / HISTORY_FILE).write_text(curated.history.model_dump_json(indent=1), encoding="utf-8")
        undecided = undecided_merges(plain_ids(curated.sorting), curated.suggestions)
        (folder / SUGGESTED_MERGES_FILE).write_text(json.dumps(undecided, indent=1), encoding="utf-8")
        for note in curated.notes:
            context.log.info(note)
        criteria = criteria_of(asset.config.curation)
        asset.figure("kept and rejected", lambda: draw_kept_fraction_bar(curated.table, criteria))
        asset.figure("thresholds", lambda: draw_metric_histograms(curated.metrics.table, curated.table, criteria))
        return _publish(asset, unit_metrics, curated, manual, not_applied)


def _manual_decisions(asset: StagedAsset, unit_metrics: StoredMetrics) -> "tuple[ManualCuration | None, str | None]":
    """What a person decided of these very units; or why what a person decided does not apply."""
    stored = manual_curation_of(asset.context.instance, asset.roots, asset.staging.recording)
    manual = None if stored is None else stored.load()
    if stored is None or manual is None:
        return None, None
    if manual.is_about(unit_metrics.waveforms.sorting.load()):
        asset.inputs = {**asset.inputs, stored.asset: stored}
        return manual, None
    why = (
        f"{manual.user} has curated another sorting of this recording, on {manual.made_at:%Y-%m-%d}; its units are not "
        "these, so that work is not applied. It stays in the store, with the curation that was made of it. "
        "`sort-assets carry-curation` suggests it for the units that are the same."
    )
    asset.context.log.warning(why)
    return None, why


def _measure(asset: StagedAsset, analyzer: "SortingAnalyzer") -> "Callable[[SortingAnalyzer], UnitMetrics]":
    """Computes the metrics on which is decided: of the whole recording, or of one file of a concatenated one."""
    from sort_assets.metrics.epochs import epoch_analyzer
    from sort_assets.metrics.unit_metrics import compute_unit_metrics

    config = asset.config
    epoch = None if config.curation.epoch is None else _epoch(analyzer, config.curation.epoch)

    def compute(units: "SortingAnalyzer") -> "UnitMetrics":
        progress = asset.context.log.info
        if epoch is None:
            return compute_unit_metrics(units, config.metrics, job_kwargs=asset.job_kwargs, progress=progress)
        work = asset.staging.path / "epoch"
        try:
            part = epoch_analyzer(units, *epoch, work, job_kwargs=asset.job_kwargs)
            return compute_unit_metrics(part, config.metrics, job_kwargs=asset.job_kwargs, progress=progress)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    return compute


def _epoch(analyzer: "SortingAnalyzer", epoch: str) -> tuple[int, int]:
    from sort_assets.recordings import boundaries

    if not analyzer.has_recording():
        raise MissingRecordingError(
            "Deciding on one epoch needs the recording, and it is gone.",
            remedy="Bring it back, or materialize binary_dat again; or set curation.epoch: null.",
        )
    files = boundaries(analyzer.recording)
    for number, file in enumerate(files, start=1):
        if epoch in (file.name, Path(file.name).stem, str(number)):
            return file.start_sample, file.end_sample
    there = ", ".join(f"{number}: {file.name}" for number, file in enumerate(files, start=1))
    raise ConfigError(
        f"curation.epoch is '{epoch}', and the recording has no such file.", remedy=f"Name one of its files: {there}."
    )


def _publish(
    asset: StagedAsset,
    unit_metrics: StoredMetrics,
    curated: "CuratedUnits",
    manual: "ManualCuration | None",
    not_applied: str | None,
) -> dg.MaterializeResult:
    table = curated.table
    kept = int(table["kept"].sum())
    labels = {str(label): int(count) for label, count in table["label"].value_counts().items()}
    rejected_by = _rejected_by(table)
    suggestions = tuple(suggestion.words for suggestion in curated.suggestions)
    notes = "\n".join(f"- {note}" for note in curated.notes)
    columns = decision_columns(asset.config.curation)
    told = [column.name for column in DECISIONS]
    values = [column.name for column in columns if column.name not in told and not column.name.endswith("_ok")]
    if not_applied is not None:
        person = dg.AssetCheckResult(
            check_name=PERSON_CHECK, passed=False, severity=dg.AssetCheckSeverity.WARN, description=not_applied
        )
    else:
        applied = None if manual is None else f"Applied: the curation of {manual.user} of {manual.made_at:%Y-%m-%d}."
        person = dg.AssetCheckResult(check_name=PERSON_CHECK, passed=True, description=applied)
    return asset.publish(
        data_version=_data_version(curated),
        details=CurationDetails(
            num_units=len(table),
            num_kept=kept,
            labels=labels,
            rejected_by=rejected_by,
            notes=tuple(curated.notes),
            suggestions=suggestions,
            person=None if manual is None else manual.user,
            persons_work_not_applied=not_applied,
        ),
        metadata={
            "units": len(table),
            "kept": kept,
            "rejected": len(table) - kept,
            "dagster/row_count": len(table),
            **{f"rejected_by_{name}": count for name, count in rejected_by.items()},
            **({"curated_by": manual.user} if manual is not None else {}),
            **({"notes": dg.MetadataValue.md(notes)} if notes else {}),
            **({"merge_suggestions": dg.MetadataValue.json(list(suggestions))} if suggestions else {}),
            "decisions": units_table(table, columns, told),
            # A table of its own: a wider one widens the page with it, which cuts off its figures.
            "criteria": units_table(table, columns, values),
        },
        checks=[
            dg.AssetCheckResult(
                check_name=KEPT_CHECK,
                passed=kept > 0 or len(table) == 0,
                severity=dg.AssetCheckSeverity.WARN,
                description=None if kept or not len(table) else "All units are rejected; the table says why.",
                metadata={"units": len(table), "kept": kept},
            ),
            person,
            _usual_yield(asset, unit_metrics, kept),
        ],
    )


def _usual_yield(asset: StagedAsset, unit_metrics: StoredMetrics, kept: int) -> dg.AssetCheckResult:
    """Against what other recordings of this rig came to."""
    from sort_assets.checks.usual_on_rig import yield_as_usual
    from sort_assets.platform.pipeline.rig_history import rig_history

    sorter = asset.config.sorter.name
    channels = unit_metrics.details.channels
    history = rig_history(Store(asset.roots.store), asset.staging.recording, channels=channels, sorter=sorter)
    (result,) = check_results([yield_as_usual(kept, history.units_kept)])
    return result


def _data_version(curated: "CuratedUnits") -> str:
    """The data version: spike trains and decisions."""
    import numpy as np

    return hash_arrays(sorting=np.array(hash_sorting(curated.sorting)), decisions=np.array(hash_table(curated.table)))


def _rejected_by(table: "pd.DataFrame") -> dict[str, int]:
    """By criterion, how many units fail it."""
    verdicts = [name for name in table.columns if name.endswith("_ok")]
    counts = {name.removesuffix("_ok"): int(table[name].eq(False).sum()) for name in verdicts}
    return {name: count for name, count in counts.items() if count}
