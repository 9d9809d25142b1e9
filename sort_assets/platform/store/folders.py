"""Folders of the store, which somebody else may remove this instant because they are empty."""

from collections.abc import Iterable
from pathlib import Path


def entries(folder: Path, prefix: str = "") -> list[Path]:
    """What is in a folder, of which the names begin with `prefix`, in their order; nothing when it is not there."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def num_bytes(paths: Iterable[Path]) -> int:
    """Size of files and of everything in folders; of a symbolic link, its own."""
    total = 0
    for path in paths:
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        total += sum(one.lstat().st_size for one in (path, *inside) if one.is_symlink() or not one.is_dir())
    return total


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that are there and empty, the innermost first, up to the first that is not empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
