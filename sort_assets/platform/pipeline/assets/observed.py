"""External assets: nothing here makes them; they are observed when they arrive or change.

The raw recordings and their folder, what rules and sidecars say of a recording, and what people decided of its units.
Each part of the settings has the hash of its own content as data version. So an edited rule makes stale what depends on
that part, of the recordings that the rule is about, and nothing else; a code version would hit every partition.
"""

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


def _settings(name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        partitions_def=recordings,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"yaml"},
        description=f"{description} {_WHERE}",
    )


_WHERE = "From presets, `sort_assets.yaml` in the recordings root, and the recording's sidecar."

recording_settings = _settings(
    "recording_settings", "How a recording is opened and filtered: format, stream, probe, bad channels, band."
)
sorter_settings = _settings("sorter_settings", "Which sorter runs on a recording, with which parameters.")
waveform_settings = _settings("waveform_settings", "How a recording's waveforms are cut out.")
curation_settings = _settings("curation_settings", "Which metrics are computed of the units, and which units are kept.")
delivery_settings = _settings(
    "delivery_settings",
    "In which forms a recording's units are delivered, and what is known of its session and subject, for NWB.",
)
manual_curation = dg.AssetSpec(
    "manual_curation",
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json"},
    description=(
        "What a person decided of a recording's units, in Phy or in SpikeInterface's curation format. Imported with "
        "`sort-assets import-curation`, and never overwritten."
    ),
)

recordings_root = dg.AssetSpec(
    "recordings_root",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"file"},
    description=(
        "The folder that holds all recordings, as the sensor `new_recordings` last found it changed: how many there "
        "are, what waits, what could not be registered and why, and what is wrong with `sort_assets.yaml`."
    ),
)

SETTINGS = (recording_settings, sorter_settings, waveform_settings, curation_settings, delivery_settings)
