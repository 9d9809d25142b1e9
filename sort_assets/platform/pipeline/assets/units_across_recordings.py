"""All recordings in one table: how many units, how good, and what failed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.metrics.columns import Column
from sort_assets.platform.execution.executor import die_with_run_worker
from sort_assets.platform.execution.instance import refuse_temporary_instance
from sort_assets.platform.execution.remote_steps import (
    StepAttempt,
    end_with_run,
    refuse_late_publication,
    run_is_over_in,
)
from sort_assets.platform.execution.step_needs import SMALL_STEP
from sort_assets.platform.pipeline.catalog import SUMMARIZED
from sort_assets.platform.pipeline.failure_rendering import render_failures
from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS
from sort_assets.platform.pipeline.recording_results import (
    COLUMNS,
    INDEX,
    RecordingSummary,
    overcome_failures,
    standing_failures,
    summary_table,
)
from sort_assets.platform.pipeline.rig_changes import rigs_out_of_range
from sort_assets.platform.pipeline.stored_summary import SUMMARY, SUMMARY_FILE, remove_older_summaries
from sort_assets.platform.pipeline.summary_cache import units_summary
from sort_assets.platform.pipeline.tables import plain_value, table_column
from sort_assets.platform.store.content_hash import hash_table
from sort_assets.platform.store.details import SummaryDetails
from sort_assets.platform.store.layout import ALL_RECORDINGS, FIGURES
from sort_assets.platform.store.store import Staging, Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_NEWEST = ("sorted_at", "sorter", "units_found", "units_kept", "snr", "isi_violations_percent", "noise_uv", "failure")
_CHECKS = ("failed_checks", "sorted_at", "units_kept", "noise_uv", "drift_um")
_FAILURES = ("failed_at", "failed_asset", "failure", "failure_message")
# The event log keeps every row for ever; the whole table is in the store.
_ROWS = 20
_BY_NAME = {column.name: column for column in COLUMNS}


def _schema(columns: "Mapping[str, Column]") -> dg.TableSchema:
    key = dg.TableColumn(INDEX, "string", description="Key of the recording.")
    return dg.TableSchema([key, *map(table_column, columns.values())])


@dg.asset(
    name=SUMMARY,
    deps=list(SUMMARIZED),  # of what is made on demand alone, the UI would ask each time whether it may be missing
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=SMALL_STEP.op_tags(),
    kinds={"python", "pandas"},
    metadata={"dagster/column_schema": _schema(_BY_NAME)},
    description=(
        "Every recording that has been sorted, or has failed, in one table: units found and kept, their quality, and "
        "failures. It reads what the store has, whatever is missing, and is made again when results have changed."
    ),
)
def units_across_recordings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    die_with_run_worker()
    step = StepAttempt.of(context)
    with render_failures(), end_with_run(step):
        refuse_temporary_instance(context.instance)
        roots = Roots.from_environment()
        store = Store(roots.store, run_is_over_in(context.instance))
        from sort_assets.platform.pipeline.comparisons_across_recordings import current_comparisons

        summaries = units_summary(store)
        compared = current_comparisons(store, summaries)
        table = summary_table(summaries)
        with store.stage(
            ALL_RECORDINGS,
            SUMMARY,
            run_id=context.run.run_id,
            attempt=context.retry_number + 1,
            before_publishing=lambda: refuse_late_publication(step),
        ) as staging:
            table.to_parquet(staging.path / SUMMARY_FILE, engine="pyarrow")
            pictures = _draw(table, summaries, compared, staging, roots, context.log.warning)
            version = hash_table(table)
            numbers = _numbers(summaries)
            artefact = staging.publish(
                data_version=version, config={}, config_sources={}, inputs={}, details=SummaryDetails(**numbers)
            )
        remove_older_summaries(store)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(version),
            metadata={
                **pictures,
                **numbers,
                "dagster/row_count": len(table),
                "newest": _shown(table.sort_values("sorted_at", ascending=False, na_position="last"), _NEWEST),
                "failures_to_look_at": _shown(
                    table[table["failure"].notna()].sort_values("failed_at", ascending=False), _FAILURES
                ),
                "checks_not_passed": _shown(
                    table[table["failed_checks"].notna()].sort_values("sorted_at", ascending=False), _CHECKS
                ),
                **({"compared_sortings": _compared(compared)} if len(compared) else {}),
                **({"rigs_out_of_range": _rigs(summaries)} if rigs_out_of_range(summaries) else {}),
                "folder": dg.MetadataValue.path(artefact.path),
                VERSION_METADATA: artefact.manifest.version,
            },
        )


def _draw(
    table: "pd.DataFrame",
    summaries: Mapping[str, RecordingSummary],
    compared: "pd.DataFrame",
    staging: Staging,
    roots: Roots,
    warn: Callable[[str], None],
) -> dict[str, dg.MarkdownMetadataValue]:
    """Draw the figures; one that fails is reported, and does not fail the table."""
    from sort_assets import figures

    found = summaries.values()
    drawings: dict[str, Callable[[], Figure]] = {
        "units_per_recording": lambda: figures.draw_units_per_recording(table),
        "quality_over_time": lambda: figures.draw_quality_over_time(table),
        "failures_by_class": lambda: figures.draw_failures_by_class(standing_failures(found), overcome_failures(found)),
    }
    if len(compared):
        drawings["comparisons"] = lambda: figures.draw_fates_by_recording(compared)
    shown = {}
    address = f"{roots.figures_url}/{staging.recording}/{staging.asset}/{staging.version}/{FIGURES}"
    for name, draw in drawings.items():
        path = staging.figures / f"{name}.png"
        try:
            figures.save(draw(), path)
        except Exception as error:
            warn(f"The figure {name} could not be drawn: {type(error).__name__}: {error}")
            continue
        shown[name] = dg.MetadataValue.md(f"![{name.replace('_', ' ')}]({address}/{path.name})")
    return shown


def _numbers(summaries: Mapping[str, RecordingSummary]) -> dict[str, int]:
    found = summaries.values()
    return {
        "recordings": len(found),
        "sorted_recordings": sum(one.units_found is not None for one in found),
        "units_found": sum(one.units_found or 0 for one in found),
        "units_kept": sum(one.units_kept or 0 for one in found),
        "unsortable_recordings": sum(one.unsortable is not None for one in found),
        "degraded_recordings": sum(bool(one.degraded) for one in found),
        "recordings_with_failed_checks": sum(one.failed_checks is not None for one in found),
        "failing_recordings": sum(one.failure is not None for one in found),
    }


def _rigs(summaries: Mapping[str, RecordingSummary]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {change.words}" for change in rigs_out_of_range(summaries)))


def _compared(table: "pd.DataFrame") -> dg.TableMetadataValue:
    """The recordings whose comparison kept least."""
    from sort_assets.comparisons.fates import FATES

    names = (*FATES, "persisting", "judged", "before", "now")
    rows = [
        dg.TableRecord({INDEX: str(key), **{name: plain_value(values[name]) for name in names}})
        for key, values in table.head(_ROWS).iterrows()
    ]
    return dg.MetadataValue.table(rows, schema=dg.TableSchema([*map(dg.TableColumn, (INDEX, *names))]))


def _shown(table: "pd.DataFrame", columns: tuple[str, ...]) -> dg.TableMetadataValue:
    """The first rows of some columns."""
    rows = [
        dg.TableRecord({INDEX: str(key), **{name: plain_value(values[name]) for name in columns}})
        for key, values in table[list(columns)].head(_ROWS).iterrows()
    ]
    return dg.MetadataValue.table(rows, schema=_schema({name: _BY_NAME[name] for name in columns}))
