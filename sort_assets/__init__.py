"""sort_assets: a Dagster asset platform for spike sorting.

In a notebook, without Dagster:

>>> import sort_assets
>>> units = sort_assets.load("mouse1~day2.nwb", "curated_units")  # a SpikeInterface sorting
>>> metrics = sort_assets.load("mouse1~day2.nwb", "unit_metrics")  # a pandas DataFrame
>>> raw = sort_assets.open_recording("/mnt/rig/mouse1_g0", stream="imec0.ap")  # a SpikeInterface recording, unfiltered
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sort_assets.platform.pipeline.loading import load, open_result
    from sort_assets.platform.pipeline.variant_component import SortingVariant
    from sort_assets.recordings.key import RecordingKey
    from sort_assets.recordings.opening import open_recording

__all__ = ["RecordingKey", "SortingVariant", "load", "open_recording", "open_result"]

_MODULES = {
    "RecordingKey": "sort_assets.recordings.key",
    "SortingVariant": "sort_assets.platform.pipeline.variant_component",
    "load": "sort_assets.platform.pipeline.loading",
    "open_recording": "sort_assets.recordings.opening",
    "open_result": "sort_assets.platform.pipeline.loading",
}


def __getattr__(name: str) -> Any:
    # The definitions import this package too, and must not import SpikeInterface.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'sort_assets' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
