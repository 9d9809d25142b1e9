"""Folders of the store, which somebody else may remove this instant because they are empty."""

from collections.abc import Iterable
from pathlib import Path


def entries(folder: Path, prefix: str = "") -> list[Path]:
    """What is in a folder, of which the names begin with `prefix`, in their order; nothing when it is not there."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that are there and empty, the innermost first, up to the first that is not empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
