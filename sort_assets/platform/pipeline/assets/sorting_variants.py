"""A recording's own sorting and its variants side by side, on one page, with the units on which they agree."""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.errors import ComparisonError
from sort_assets.platform.pipeline.catalog import step_tags
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.layout import REPORT_FILE
from sort_assets.platform.store.stored_variant import CONSENSUS_FILE, VARIANTS_FILE, ComparedVariantsDetails

if TYPE_CHECKING:
    from sort_assets.reports.content import ReportFigure
    from sort_assets.reports.variants_report import TriedSorting

VARIANTS_GROUP = "variants"
_CAPTION = (
    "Light: units that each sorting found; dark: those that pass the recording's own criteria of curation. Right, "
    "where it was measured: recall of units injected into a stretch of this recording, with 95 % intervals."
)


@dg.asset(
    partitions_def=recordings,
    group_name=VARIANTS_GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("sorting_variants"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "pandas", "html"},
    description=(
        "The recording's own sorting and its variants: units found and kept, what became of the own units, recall of "
        "injected units, and the units on which several sortings agree. Made again when a variant was tried."
    ),
)
def sorting_variants(
    context: dg.AssetExecutionContext, sorting: StoredSorting, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, sorting=sorting) as asset:
        import pandas as pd

        from sort_assets.comparisons.consensus import find_consensus
        from sort_assets.platform.pipeline.compared_variants import (
            OWN,
            compared_units,
            describe_own,
            describe_variant,
            find_variants,
        )
        from sort_assets.recordings.key import RecordingKey
        from sort_assets.reports.variants_report import write_variants_report

        there, recording = find_variants(sorting), asset.staging.recording
        if not there.variants:
            raise ComparisonError(
                f"No variant of '{recording}' has a sorting.",
                remedy="Declare one, and sort the recording with it: `sort-assets variants sort`.",
            )
        units = {OWN: there.own.units}
        tried = [describe_own(sorting, there.own)]
        for name, variant in there.variants.items():
            units[name], kept = compared_units(sorting, variant)
            tried.append(describe_variant(variant, there.own, units[name], kept))
        at_least = min(asset.config.comparison.consensus_of or max(len(units) // 2 + 1, 2), len(units))
        consensus = find_consensus(units, at_least=at_least)
        StoredSorting.write(consensus.sorting, asset.staging.path)
        consensus.table.to_parquet(asset.staging.path / CONSENSUS_FILE, engine="pyarrow")
        table = pd.DataFrame([_line(one) for one in tried])
        table.to_parquet(asset.staging.path / VARIANTS_FILE, engine="pyarrow")
        write_variants_report(
            asset.staging.figures / REPORT_FILE,
            title=RecordingKey.parse(recording).path,
            recording_key=recording,
            sortings=tried,
            consensus=consensus.table,
            at_least=at_least,
            failed=there.failed,
            other_dat=there.other_dat,
            missing=there.missing,
            figures=_draw(asset, tried),
            written_at=datetime.now(UTC),
        )
        versions = {sorting.asset: sorting.manifest.version}
        versions |= {variant.asset: variant.manifest.version for variant in there.variants.values()}
        return asset.publish(
            data_version=hash_json(versions),
            details=ComparedVariantsDetails(versions=versions, at_least=at_least, num_consensus=len(consensus.table)),
            first={"page": dg.MetadataValue.md(f"[**Open the page of the variants**]({asset.address(REPORT_FILE)})")},
            metadata={
                "tried": len(there.variants),
                **({"failed": dg.MetadataValue.json(dict(there.failed))} if there.failed else {}),
                "consensus": f"{len(consensus.table)} units that at least {at_least} of {len(units)} sortings have",
                "sortings": _table(tried),
            },
        )


def _line(one: "TriedSorting") -> dict[str, object]:
    line = {name: value for name, value in asdict(one).items() if name != "injected"}
    return {**line, "injected_units": len(one.injected), "recall": one.recall[0]}


def _table(tried: "list[TriedSorting]") -> dg.TableMetadataValue:
    # What differs is on the page: a wider table widens the asset's page with it, which cuts off its figure.
    records = []
    for one in tried:
        still_there = "" if one.still_there is None else f"{one.still_there} of {one.of}"
        recall = None if math.isnan(one.recall[0]) else round(one.recall[0], 3)
        records.append(
            dg.TableRecord(
                {
                    "sorting": one.name,
                    "units": one.units,
                    "kept": one.kept,
                    "still_there": still_there,
                    "recall": recall,
                    "minutes": None if one.minutes is None else round(one.minutes, 2),
                }
            )
        )
    return dg.MetadataValue.table(records)


def _draw(asset: StagedAsset, tried: "list[TriedSorting]") -> "list[ReportFigure]":
    from sort_assets.figures import draw_variants
    from sort_assets.reports.content import ReportFigure

    asset.figure(
        "variants",
        lambda: draw_variants(
            [one.name for one in tried],
            [one.units for one in tried],
            [one.kept for one in tried],
            [one.recall for one in tried],
        ),
    )
    return [ReportFigure(name, name.capitalize(), _CAPTION, path) for name, path in asset.figures.items()]
