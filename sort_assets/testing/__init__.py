"""The conformance kit: what every sorter backend must do, as tests. Needs pytest; nothing of sort_assets imports it.

A backend, ours or another lab's, is tested by a subclass::

    from sort_assets.testing import SorterBackendConformance


    class TestMySorter(SorterBackendConformance):
        backend_name = "my_sorter"

Tests that use the fixture `sort_run` share one sort per class. To mark them as slow, look for that fixture's name in
`pytest_collection_modifyitems`.
"""

from sort_assets.testing.comparison import spike_depths_uv, unit_accuracies
from sort_assets.testing.conformance import SorterBackendConformance
from sort_assets.testing.sort_run import SortRun, make_sort_input, run_sort

__all__ = [
    "SortRun",
    "SorterBackendConformance",
    "make_sort_input",
    "run_sort",
    "spike_depths_uv",
    "unit_accuracies",
]
