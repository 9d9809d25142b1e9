"""Where the summary over all recordings is kept: beside the recordings, in a folder that no recording can have."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sort_assets.platform.store.files import entries
from sort_assets.platform.store.layout import ALL_RECORDINGS, CURRENT, MANIFEST_NAME
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "units_across_recordings"
SUMMARY_FILE = "units_across_recordings.parquet"
VERSIONS_KEPT = 10
"""It is written again and again, and says nothing that the recordings' results don't say."""


def load_summary(store: Store) -> pd.DataFrame:
    """The newest summary: one row for each recording, its key as index.

    Raises
    ------
    MissingArtefactError
        When it was never made.
    DamagedArtefactError
        When its files are not what its manifest says.
    """
    import pandas as pd

    return pd.read_parquet(store.artefact(ALL_RECORDINGS, SUMMARY).path / SUMMARY_FILE)


def remove_older_summaries(store: Store) -> list[str]:
    """Remove all but the newest versions, with their figures; returns the names of the removed.

    `gc` does not do so: it cleans recordings. The current version always stays.
    """
    folder = store.asset_folder(ALL_RECORDINGS, SUMMARY)
    current = (folder / CURRENT).resolve().name
    # Also those of which a removal was interrupted, which have no manifest any more.
    versions = [path for path in entries(folder) if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    whole = [path for path in versions if (path / MANIFEST_NAME).is_file()]
    kept = {path.name for path in whole[-VERSIONS_KEPT:]} | {current}
    removed = [path for path in versions if path.name not in kept]
    for path in removed:
        (path / MANIFEST_NAME).unlink(missing_ok=True)  # first it is no version any more
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in removed]
