"""The raw recording: nobody's product, observed when it arrives and when it changes."""

import dagster as dg

from sort_assets.platform.pipeline.materialization import GROUP, OWNERS
from sort_assets.platform.pipeline.partitions import recordings

raw_recording = dg.AssetSpec(
    "raw_recording",
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    description=(
        "A recording as it lies on disk below the recordings root. The sensor `new_recordings` observes it, or "
        "`sort-assets register`."
    ),
    kinds={"file"},
)
