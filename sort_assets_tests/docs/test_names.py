"""Modules, names and paths that the pages mention exist."""

from importlib import import_module
from pathlib import Path

import pytest

from sort_assets_tests.docs.pages import REPOSITORY, paths, python_names, written_pages

by_page = pytest.mark.parametrize("page", written_pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix())


@by_page
def test_names_of_the_package_exist(page: Path) -> None:
    assert not [name for name in python_names(page.read_text(encoding="utf-8")) if not _exists(name)]


@by_page
def test_paths_exist(page: Path) -> None:
    assert not [path for path in paths(page.read_text(encoding="utf-8")) if not (REPOSITORY / path).exists()]


def test_a_wrong_name_is_found() -> None:
    page = "See `sort_assets.nowhere` and `sort_assets/nowhere.py`.\n```python\nfrom sort_assets import gone\n```\n"
    assert [name for name in python_names(page) if not _exists(name)] == ["sort_assets.gone", "sort_assets.nowhere"]
    assert list(paths(page)) == ["sort_assets/nowhere.py"]


def _exists(name: str) -> bool:
    module, *attributes = _importable(name)
    found: object = import_module(module)
    for attribute in attributes:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True


def _importable(name: str) -> list[str]:
    """The longest module that can be imported, and what is left of the name."""
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        try:
            import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        return [".".join(parts[:end]), *parts[end:]]
    return [parts[0], *parts[1:]]
