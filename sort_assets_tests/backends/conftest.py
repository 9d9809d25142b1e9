"""The tests that share a real sort are slow; of SpikeInterface's sorters, MountainSort5 alone is asked each time."""

import pytest

SORTING_COMPONENTS = {"spykingcircus2", "tridesclous2", "lupin"}
"""Sorters made of SpikeInterface's components: of all four the slowest."""


@pytest.hookimpl(tryfirst=True)  # before the tests are selected by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "sort_run" in getattr(item, "fixturenames", ()):
            kit = item.getparent(pytest.Class)
            assert kit is not None
            item.add_marker(pytest.mark.slow)
            if kit.obj.backend_name in SORTING_COMPONENTS:
                item.add_marker(pytest.mark.release)
