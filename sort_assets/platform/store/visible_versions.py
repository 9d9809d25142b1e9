"""A version that was published on another host is seen here a little later.

A host remembers for a while what it last saw of a folder of a network file system: NFS for up to 60 s, unless it is
mounted otherwise (`acdirmax`). So the link `current` may lead to the version before, and a new version's folder may not
be there yet. Whoever must have the newest one asks the Dagster instance for its name, which is never old, and waits
here until it is seen. Where results are only shown (`status`, the digest), being a minute late does no harm. The
summary over all recordings begins a minute after the last result.
"""

import time
from collections.abc import Callable

from sort_assets.config.settings import STORE_VARIABLE
from sort_assets.errors import MissingArtefactError
from sort_assets.machine.file_system import is_local
from sort_assets.platform.store.layout import MANIFEST_NAME, REMOVED_NAME
from sort_assets.platform.store.store import Store

ATTRIBUTE_CACHE_S = 65.0
_POLL_S = 0.5


def wait_until_visible(
    store: Store, recording: str, asset: str, version: str, log: Callable[[str], None] = lambda _: None
) -> None:
    """Wait until a version is seen here that the Dagster instance names; not on a disk of this machine.

    Parameters
    ----------
    store : Store
    recording, asset, version : str
        What was published.
    log : callable
        Told once what is waited for.

    Raises
    ------
    MissingArtefactError
        When it is not there after longer than network file systems remember.
    """
    folder = store.asset_folder(recording, asset) / version
    deadline = time.monotonic() + ATTRIBUTE_CACHE_S
    told = False
    while not (folder / MANIFEST_NAME).is_file() and not (folder / REMOVED_NAME).is_file():
        if is_local(store.root):
            return  # whoever opens it says that it is missing
        if time.monotonic() > deadline:
            raise MissingArtefactError(
                f"Version {version} of {asset} of '{recording}' was published, but this host has not seen it in "
                f"'{store.root}' for {ATTRIBUTE_CACHE_S:.0f} s.",
                remedy=f"See that {STORE_VARIABLE} names the same store on this host as on the others, that it is "
                "mounted, and that NFS is not mounted with an acdirmax above 60.",
                path=str(folder),
            )
        if not told:
            told = True
            log(f"Waiting until this host sees version {version} of {asset}, which was published on another one.")
        time.sleep(_POLL_S)
