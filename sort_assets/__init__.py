"""sort_assets: a Dagster asset platform for spike sorting.

In a notebook, without Dagster:

>>> import sort_assets
>>> units = sort_assets.load("mouse1~day2.nwb", "curated_units")  # a SpikeInterface sorting
>>> metrics = sort_assets.load("mouse1~day2.nwb", "unit_metrics")  # a pandas DataFrame
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sort_assets.platform.store.results import load, open_result

__all__ = ["load", "open_result"]


def __getattr__(name: str) -> Any:
    # Whoever imports one module of this package need not import the storage.
    if name in __all__:
        from sort_assets.platform.store import results as loading

        return getattr(loading, name)
    raise AttributeError(f"module 'sort_assets' has no attribute '{name}'")
