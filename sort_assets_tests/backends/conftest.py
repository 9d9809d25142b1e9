"""The tests that share a real sort are slow; of sorters that work alike, one is asked each time."""

import pytest

OF_SPYKINGCIRCUS2S_KIND = {"tridesclous2", "lupin"}
"""Sorters of SpikeInterface's components, which run as SpykingCircus 2 does."""


@pytest.hookimpl(tryfirst=True)  # before the tests are selected by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "sort_run" in getattr(item, "fixturenames", ()):
            kit = item.getparent(pytest.Class)
            assert kit is not None
            item.add_marker(pytest.mark.slow)
            if kit.obj.backend_name in OF_SPYKINGCIRCUS2S_KIND:
                item.add_marker(pytest.mark.release)
