"""One job per use."""

import dagster as dg

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""What a run is before it has ended."""

PIPELINE = ("preprocessed_recording", "binary_dat", "sorting", "waveforms")

sort_recording = dg.define_asset_job(
    "sort_recording",
    selection=dg.AssetSelection.assets(*PIPELINE),
    description="Everything, from the raw recording to waveforms, for one recording.",
)

sort_again = dg.define_asset_job(
    "sort_again",
    selection=dg.AssetSelection.assets("sorting", "waveforms"),
    description="Another sort of the same .dat: other sorter parameters, without filtering and writing again.",
)
