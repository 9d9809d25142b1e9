"""The documentation's sources, and the names of code in them."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sort_assets.platform.engines.slurm.run_jobs import JOB_TAG, STATE_TAG

REPOSITORY = Path(__file__).resolve().parents[2]

_CODE = re.compile(r"`([^`\n]+)`")
_BLOCK = re.compile(r"^( *)```.*?\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\bsort_assets(?:\.\w+)+")
_IMPORT = re.compile(r"^\s*from (sort_assets[\w.]*) import ([\w, ]+)$", re.MULTILINE)
_DEFINITION = re.compile(r"^\s*(?:class|def) (\w+)", re.MULTILINE)
_PATH = re.compile(r"(?:sort_assets|sort_assets_tests|docs|examples|benchmarks)/[\w./-]*")
_BEGINNING = re.compile(r"\n\n`([\w./-]+\.py)`")
_EXAMPLE = re.compile(r"\bmy_|\.yaml\b")
"""What the pages call things that the reader is to write."""
_TAGS = (JOB_TAG, STATE_TAG)
"""Of runs in Dagster; they look like paths."""


def written_pages() -> list[Path]:
    """The pages that people wrote; the reference is made from the code."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]


def python_names(page: str) -> Iterator[str]:
    """Dotted names of this package that a page mentions, in running text and in the imports of its examples.

    What an example imports and another one on the page defines is for the reader to write.
    """
    defined = set(_DEFINITION.findall(page))
    for block in _BLOCK.finditer(page):
        for module, names in _IMPORT.findall(block[2]):
            imported = {name.strip() for name in names.split(",")} - defined
            yield from (f"{module}.{name}" for name in sorted(imported))
    for code in _CODE.findall(_BLOCK.sub("", page)):
        yield from (name for name in _NAME.findall(code) if not _EXAMPLE.search(name))


def paths(page: str) -> Iterator[str]:
    """Files and folders of this repository that a page mentions.

    A path with which a paragraph begins is that of a file for the reader to write; its folder is there.
    """
    to_be_written = set(_BEGINNING.findall(page))
    for code in _CODE.findall(_BLOCK.sub("", page)):
        if _PATH.fullmatch(code) and not _EXAMPLE.search(code) and code not in _TAGS:
            yield str(PurePosixPath(code).parent) if code in to_be_written else code
