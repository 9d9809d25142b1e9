"""One job per use."""

import dagster as dg

from sort_assets.platform.execution.run_queue import AT_ONCE_TAG

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""What a run is before it has ended."""

PIPELINE = (
    *("preprocessed_recording", "binary_dat", "sorting", "waveforms"),
    *("unit_metrics", "curated_units", "sorting_report", "spike_data"),
)
"""The results, each after those that it is made from."""
SORTING = "sorting"
CURATED = "curated_units"

sort_recording = dg.define_asset_job(
    "sort_recording",
    selection=dg.AssetSelection.assets(*PIPELINE),
    description="Everything, from the raw recording to curated units, their report and their delivery.",
)

sort_again = dg.define_asset_job(
    "sort_again",
    selection=dg.AssetSelection.assets(*PIPELINE[PIPELINE.index(SORTING) :]),
    description="Another sort of the same .dat: other sorter parameters, without filtering and writing again.",
)

curate_again = dg.define_asset_job(
    "curate_again",
    selection=dg.AssetSelection.assets(*PIPELINE[PIPELINE.index(CURATED) :]),
    description="Another decision on the same units: other thresholds, or a person's curation that was imported.",
)

summarize_units = dg.define_asset_job(
    "summarize_units",
    selection=dg.AssetSelection.assets("units_across_recordings"),
    tags={AT_ONCE_TAG: "true"},
    description="The table and figures over all recordings, from what the store has.",
)
