"""What a person decided of a recording's units is never lost to a new sort.

On a node, the link `current` may lead to an older version for a minute: the instance is asked which one is the newest.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from sort_assets.config import ExecutionConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import CuratedByPersonError, MissingArtefactError
from sort_assets.machine.file_system import is_local
from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.store.handles import StoredManualCuration, StoredSorting
from sort_assets.platform.store.layout import CURRENT
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.visible_versions import wait_until_visible

_Fetch = Callable[..., Any]
"""`DagsterInstance.fetch_materializations` or `fetch_observations`."""


def manual_curation_of(instance: dg.DagsterInstance, roots: Roots, recording: str) -> StoredManualCuration | None:
    """The newest imported curation of a recording; None where there is none, or the person withdrew it."""
    asset = StoredManualCuration.asset
    stored = StoredManualCuration(roots, recording, _newest(instance.fetch_observations, roots, recording, asset))
    try:
        return stored if stored.load() is not None else None
    except MissingArtefactError:
        return None


def _newest(fetch: _Fetch, roots: Roots, recording: str, asset: str) -> str | None:
    """The version that the instance was told of last, where this host does not see a newer one; None is `current`."""
    store = Store(roots.store)
    if is_local(store.root):
        return None  # what it shows is what there is
    events = fetch(dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[recording]), limit=1).records
    for event in events:
        told = event.asset_materialization or event.asset_observation
        version = None if told is None else told.metadata.get(VERSION_METADATA)
        if version is None:
            continue  # by an earlier version
        newest, seen = str(version.value), (store.asset_folder(recording, asset) / CURRENT).resolve().name
        if seen < newest or seen == CURRENT:  # a version's name begins with its time
            try:
                wait_until_visible(store, recording, asset, newest)
            except MissingArtefactError:
                if seen == CURRENT:  # there is none at all: it was deleted, as by `sort-assets purge`
                    return None
                raise
            return newest
    return None


def refuse_resort(
    instance: dg.DagsterInstance,
    roots: Roots,
    recording: str,
    execution: ExecutionConfig,
    warn: Callable[[str], None],
) -> None:
    """Refuse to sort again what a person has curated, unless the configuration permits it.

    Parameters
    ----------
    instance : dg.DagsterInstance
    roots : Roots
    recording : str
        The recording's key.
    execution : ExecutionConfig
        Its `resort_curated` permits it.
    warn : callable
        Told that the person's work is not going to apply.

    Raises
    ------
    CuratedByPersonError
        When a person's curation is about the present sorting.
    """
    stored = manual_curation_of(instance, roots, recording)
    manual = None if stored is None else stored.load()
    if stored is None or manual is None:
        return
    try:
        sorting = _newest(instance.fetch_materializations, roots, recording, StoredSorting.asset)
        present = StoredSorting(roots, recording, sorting).load()
    except MissingArtefactError:
        return
    if not manual.is_about(present):
        return
    if execution.resort_curated:
        warn(
            f"{manual.user} has curated the present sorting of {recording}. That work stays, with that sorting, and "
            "applies to the new one only if it finds the very same spikes. `sort-assets carry-curation` suggests it "
            "for the units that are the same."
        )
        return
    raise CuratedByPersonError(
        f"{manual.user} has curated the units of '{recording}' (imported {manual.made_at:%Y-%m-%d %H:%M} UTC); another "
        "sort would find other units, to which that work does not apply.",
        remedy="To sort again nevertheless, set execution.resort_curated: true in the run's config; the old sorting "
        "and its curation stay in the store, and `sort-assets carry-curation` suggests it for the new units that are "
        "the same. To decide otherwise on the present units, materialize curated_units.",
        manual_curation=stored.manifest.version,
    )
