"""What became of the units of one sorting in another one of the same recording."""

from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.comparisons.columns import PAIRS
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.check_results import check_results, check_specs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.pipeline.tables import rows_table, table_column
from sort_assets.platform.store.content_hash import hash_table
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.layout import REPORT_FILE
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_comparison import PAIRS_FILE, ComparisonDetails

if TYPE_CHECKING:
    from sort_assets.comparisons.sortings import SortingComparison
    from sort_assets.reports.content import ReportFigure

CHECK = "as_before"
_CHECKS = {
    CHECK: "As many of the units that curation had kept are still there as was asked for, or as is usual on this rig; "
    "passes while the rig's history of comparisons is short.",
}
_SHOWN = ("fate", "old_unit", "new_unit", "agreement", "old_rate_hz", "new_rate_hz", "distance_um", "best_match")


@dg.asset(
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("sorting_comparison"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "pandas", "html"},
    metadata={"dagster/column_schema": dg.TableSchema([table_column(column) for column in PAIRS])},
    check_specs=check_specs("sorting_comparison", _CHECKS),
    description=(
        "A sorting against the one before it, or against another baseline (comparison.baseline): which units are kept, "
        "moved, split, merged, lost or new. Made on demand, with the job compare_sortings."
    ),
)
def sorting_comparison(
    context: dg.AssetExecutionContext, sorting: StoredSorting, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, sorting=sorting) as asset:
        return _compare(asset, sorting)


def _compare(asset: StagedAsset, current: StoredSorting) -> dg.MaterializeResult:
    from sort_assets.checks.usual_on_rig import as_before
    from sort_assets.platform.pipeline.compared_sortings import compare_stored
    from sort_assets.platform.pipeline.comparison_history import persisting_shares
    from sort_assets.recordings.key import RecordingKey
    from sort_assets.reports.comparison_report import comparison_content
    from sort_assets.reports.recording_report import write_report

    wanted, recording = asset.config.comparison, asset.staging.recording
    stored = current if wanted.version is None else StoredSorting(asset.roots, recording, wanted.version)
    compared = compare_stored(stored, wanted.baseline)
    old, new, found = compared.old, compared.new, compared.found
    history = persisting_shares(Store(asset.roots.store), stored, old.kind)
    of = compared.judged_words
    check = as_before(compared.judged_persisting, len(compared.judged), history, wanted.least_persisting, of=of)
    found.pairs.to_parquet(asset.staging.path / PAIRS_FILE, engine="pyarrow")
    content = comparison_content(
        found,
        title=RecordingKey.parse(recording).path,
        recording_key=recording,
        old_name=old.name,
        new_name=new.name,
        check=check,
        figures=_draw(asset, found),
        differing=compared.differing_settings,
    )
    write_report(asset.staging.figures / REPORT_FILE, content)
    details = ComparisonDetails(
        baseline=wanted.baseline,
        baseline_kind=old.kind,
        baseline_name=old.name,
        name=new.name,
        version=stored.manifest.version,
        data_version=stored.manifest.data_version,
        baseline_version=None if old.manifest is None else old.manifest.version,
        headline=found.headline,
        units_before=len(found.old_fates),
        units_now=len(found.new_fates),
        persisting=len(found.persisting),
        kept_before=len(compared.judged),
        kept_persisting=compared.judged_persisting,
        counts=found.counts,
        median_agreement=found.median_agreement,
    )
    return asset.publish(
        data_version=hash_table(found.pairs),
        details=details,
        first={
            "comparison": dg.MetadataValue.md(f"[**Open the comparison**]({asset.address(REPORT_FILE)})"),
            "result": found.headline,
            "before": old.name,
            "now": new.name,
        },
        metadata={
            **found.counts,
            "still_there": f"{details.kept_persisting} of {details.kept_before} {of}",
            "dagster/row_count": len(found.pairs),
            "pairs": rows_table(found.pairs, PAIRS, _SHOWN),
        },
        checks=check_results([check]),
    )


def _draw(asset: StagedAsset, found: "SortingComparison") -> "list[ReportFigure]":
    from sort_assets.comparisons.fates import MATCH
    from sort_assets.figures import draw_agreement, draw_fates
    from sort_assets.reports.comparison_report import CAPTIONS
    from sort_assets.reports.content import ReportFigure

    asset.figure("fates", lambda: draw_fates(found.counts))
    asset.figure("agreement", lambda: draw_agreement(found.pairs, MATCH))
    return [
        ReportFigure(name, name.capitalize(), CAPTIONS[name], asset.figures[name])
        for name in CAPTIONS
        if name in asset.figures
    ]
