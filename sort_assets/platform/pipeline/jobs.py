"""One job per use, and the priorities of their runs.

Dagster's queue and its pools follow the tag `dagster/priority`. A run that a person launches has Dagster's default, 0;
what the sensors of sort_assets request is tagged lower. So are the runs of a person who executes a sensor's run again,
since Dagster copies its tags. A backfill that a person launches in the UI has 0 as well, unless its tags say otherwise.

The summary and the digest are of no partition: `dagster.yaml` limits the runs of recordings to fewer than all runs, so
that these two never wait for a sort.
"""

from typing import Any, Final

import dagster as dg

from sort_assets.config.variant_names import folder_with_variants
from sort_assets.platform.pipeline.catalog import PIPELINE, from_asset
from sort_assets.platform.store.handles import StoredCuration, StoredSorting
from sort_assets.platform.store.stored_comparison import StoredComparison
from sort_assets.platform.store.stored_variant import StoredComparedVariants

PRIORITY_TAG: Final = "dagster/priority"
SENSOR_PRIORITY: Final = -5
"""The priority of runs that the sensors request for new and changed recordings."""
STALE_PRIORITY: Final = -10
"""The priority of runs that make stale results again: there are many, and recordings of today take precedence."""
ACCURACY_PRIORITY: Final = -20
"""The priority of sorts by which accuracy is measured: whatever waits for a device takes precedence."""
VARIANT_PRIORITY: Final = -20
"""The priority of variants: whatever waits for a device takes precedence."""
TRY_VARIANTS: Final = "try_variants"

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""What a run is before it has ended."""

sort_recording = dg.define_asset_job(
    "sort_recording",
    selection=dg.AssetSelection.assets(*PIPELINE),
    description="Everything, from the raw recording to curated units, their report and their delivery.",
)

sort_again = dg.define_asset_job(
    "sort_again",
    selection=dg.AssetSelection.assets(*from_asset(StoredSorting.asset)),
    description="Another sort of the same .dat: other sorter parameters, without filtering and writing again.",
)

curate_again = dg.define_asset_job(
    "curate_again",
    selection=dg.AssetSelection.assets(*from_asset(StoredCuration.asset)),
    description="Another decision on the same units: other thresholds, or a person's curation that was imported.",
)

measure_accuracy = dg.define_asset_job(
    "measure_accuracy",
    selection=dg.AssetSelection.assets("hybrid_recording", "hybrid_accuracy"),
    tags={PRIORITY_TAG: str(ACCURACY_PRIORITY)},
    description="Units of known spike times are injected into a recording and sorted: how many of them are found?",
)

compare_sortings = dg.define_asset_job(
    "compare_sortings",
    selection=dg.AssetSelection.assets(StoredComparison.asset),
    description="What became of the units: the sorting against the one before, or against comparison.baseline.",
)

summarize_units = dg.define_asset_job(
    "summarize_units",
    selection=dg.AssetSelection.assets("units_across_recordings"),
    description="The table and figures over all recordings, from what the store has.",
)

compare_variants = dg.define_asset_job(
    "compare_variants",
    selection=dg.AssetSelection.assets(StoredComparedVariants.asset),
    description="A recording's own sorting and its variants, on one page.",
)


def variant_jobs() -> list[Any]:
    """The job that sorts a recording with all declared variants; none where none is declared."""
    folder = folder_with_variants()
    if folder is None:
        return []
    from sort_assets.config.variants import declared_variants

    declared = declared_variants(folder).all
    if not declared:
        return []
    names = [name for variant in declared for name in (variant.asset, variant.units_asset)]
    return [
        dg.define_asset_job(
            TRY_VARIANTS,
            selection=dg.AssetSelection.assets(*names),
            tags={PRIORITY_TAG: str(VARIANT_PRIORITY)},
            description="The recording's .dat sorted with every declared variant.",
        )
    ]
