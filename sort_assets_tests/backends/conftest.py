"""The tests that share a real sort are slow."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "sort_run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
