"""Where what was found out is kept for the next process of the same user; it may be lost at any time."""

import os
from pathlib import Path


def user_cache() -> Path:
    """The folder of sort_assets in the user's cache, which need not exist.

    Where the user has no home, as with the numbers of users that some containers make up, it is one that can't exist:
    writing to it fails as on a disk that can't be written to, with an `OSError`.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        folder = Path(os.devnull)
    return folder / "sort_assets"
