"""The conformance kit: what every sorter backend must do, as tests. Needs pytest; nothing of sort_assets imports it.

A backend, ours or another lab's, is tested by a subclass::

    from sort_assets.testing import SorterBackendConformance


    class TestMySorter(SorterBackendConformance):
        backend_name = "my_sorter"

Tests that use the fixture `sort_run` share one sort per class. To mark them as slow, look for that fixture's name in
`pytest_collection_modifyitems`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sort_assets.testing.comparison import spike_depths_uv, unit_accuracies
    from sort_assets.testing.conformance import SorterBackendConformance
    from sort_assets.testing.ground_truth import make_ground_truth
    from sort_assets.testing.nwb import write_nwb
    from sort_assets.testing.sort_run import SortRun, make_sort_input, run_sort

__all__ = [
    "SortRun",
    "SorterBackendConformance",
    "make_ground_truth",
    "make_sort_input",
    "run_sort",
    "spike_depths_uv",
    "unit_accuracies",
    "write_nwb",
]

_MODULES = {
    "SortRun": "sort_run",
    "SorterBackendConformance": "conformance",
    "make_ground_truth": "ground_truth",
    "make_sort_input": "sort_run",
    "run_sort": "sort_run",
    "spike_depths_uv": "comparison",
    "unit_accuracies": "comparison",
    "write_nwb": "nwb",
}


def __getattr__(name: str) -> Any:
    # The demo needs the ground truth, and not pytest, which the kit imports.
    if name in _MODULES:
        return getattr(import_module(f"sort_assets.testing.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'sort_assets.testing' has no attribute '{name}'")
