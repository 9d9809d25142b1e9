"""Cleaning the store: what dead writers left, old versions and failure records, expired memory profiles."""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from sort_assets.errors import StoreError
from sort_assets.platform.store.dead_staging import leftovers, remove_dead_staging
from sort_assets.platform.store.failures import forget_failure, surplus_failures
from sort_assets.platform.store.files import entries, num_bytes, remove_empty, sync
from sort_assets.platform.store.layout import (
    CURRENT,
    FAILED,
    FAILURE_NAME,
    FIGURES,
    MANIFEST_NAME,
    REMOVED_NAME,
    SORT_LOCK,
)
from sort_assets.platform.store.locks import Locked, exclusive_lock
from sort_assets.platform.store.memory_profiles import MemoryProfiles
from sort_assets.platform.store.store import Store

LEFTOVERS = "remains of a dead writer"
VERSION = "old version"
FAILURE = "old failure record"
LESSON = "expired lesson"
SCRATCH = "scratch of a dead sort"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removal:
    """Something that was removed, or would be.

    Attributes
    ----------
    what : str
        `LEFTOVERS`, `VERSION`, `FAILURE`, `LESSON` or `SCRATCH`.
    path : str
        Relative to the store; of a scratch, absolute.
    bytes : int
        Freed by it.
    """

    what: str
    path: str
    bytes: int


@dataclass
class Collected:
    """What a clean-up did.

    Attributes
    ----------
    removed : list of Removal
    in_use : list of str
        Recordings that were left alone because somebody writes or sorts them.
    failed : dict
        By recording, why it could not be cleaned to the end.
    """

    removed: list[Removal] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Freed by everything together."""
        return sum(one.bytes for one in self.removed)


def collect_garbage(
    store: Store,
    kept: Mapping[str, int | None],
    *,
    on_demand: Callable[[str], bool] = lambda _: False,
    dry_run: bool = False,
) -> Collected:
    """Clean the whole store.

    A recording that somebody writes or sorts is left alone entirely: a running sort may read an old `.dat`. Of a
    version that retention removes, the figures and the manifest (as ``removed.json``) stay.

    Parameters
    ----------
    store : Store
    kept : Mapping[str, int or None]
        How many of the newest versions are kept, by asset or by a pattern of assets as `fnmatch` has it (an asset that
        is named itself goes by that); None, or an asset that is not named, keeps all. The current version always stays,
        and so do the versions that the current ones of other assets were made from.
    on_demand : callable
        Whether an asset is made on demand alone: it does not hold what it was made from, such as a `.dat` that is no
        longer the recording's.
    dry_run : bool
        Only say what would be removed.
    """
    collected = Collected()
    for recording in store.recordings():
        try:
            for asset in store.assets(recording):
                if store.in_use(recording):
                    collected.in_use.append(recording)
                    break
                number = _number_kept(kept, asset)
                _clean_asset(store, recording, asset, number, collected, on_demand, dry_run=dry_run)
        except OSError as error:
            collected.failed[recording] = str(error)
    for path in MemoryProfiles(store.root).expired():
        _note(collected, store, LESSON, path)
        if not dry_run:
            path.unlink(missing_ok=True)
    return collected


def _number_kept(kept: Mapping[str, int | None], asset: str) -> int | None:
    named = (number for pattern, number in kept.items() if fnmatchcase(asset, pattern))
    return kept[asset] if asset in kept else next(named, None)


def _clean_asset(
    store: Store,
    recording: str,
    asset: str,
    number: int | None,
    collected: Collected,
    on_demand: Callable[[str], bool],
    *,
    dry_run: bool,
) -> None:
    folder = store.asset_folder(recording, asset)
    dead = leftovers(folder, store.run_is_over)
    for path in dead:
        _note(collected, store, LEFTOVERS, path)
    if dead and not dry_run:
        remove_dead_staging(store, recording, asset)

    half_written = [path for path in entries(folder / FAILED) if not (path / FAILURE_NAME).is_file()]
    for path in (*half_written, *surplus_failures(store, recording, asset)):
        _note(collected, store, FAILURE, path)
        if not dry_run:
            forget_failure(path)

    unfinished = [path for path in entries(folder) if (path / REMOVED_NAME).exists() and _surplus_of(path)]
    outdated = _outdated(store, recording, asset, number, on_demand)
    for version in (*unfinished, *outdated):
        removal = Removal(VERSION, _relative(store, version), num_bytes(_surplus_of(version)))
        if dry_run or _remove_version(store, recording, version):
            collected.removed.append(removal)
    if not dry_run:
        _remove_stale_sort_lock(folder)
        remove_empty([folder / FAILED, folder, folder.parent])


def _outdated(
    store: Store, recording: str, asset: str, number: int | None, on_demand: Callable[[str], bool]
) -> list[Path]:
    if number is None:
        return []
    folder = store.asset_folder(recording, asset)
    needed = _needed(store, recording, on_demand)
    return [
        folder / version for version in store.versions(recording, asset)[:-number] if (asset, version) not in needed
    ]


def _needed(store: Store, recording: str, on_demand: Callable[[str], bool]) -> set[tuple[str, str]]:
    """The current versions of all assets of a recording and those that they were made from, as (asset, version).

    Of what is made on demand, only those that other assets of that kind were made from.
    """
    needed: set[tuple[str, str]] = set()
    open_ends = [
        (asset, (store.asset_folder(recording, asset) / CURRENT).resolve().name) for asset in store.assets(recording)
    ]
    while open_ends:
        asset, version = open_ends.pop()
        if (asset, version) in needed:
            continue
        needed.add((asset, version))
        try:
            inputs = store.artefact(recording, asset, version).manifest.inputs
        except StoreError:
            continue  # nothing is known of what it was made from
        held = (name for name in inputs if on_demand(name) or not on_demand(asset))
        open_ends += [(name, inputs[name].version) for name in held]
    return needed


def _remove_version(store: Store, recording: str, version: Path) -> bool:
    """Remove what is large of a version; False when somebody began to use the recording meanwhile."""
    manifest, removed = version / MANIFEST_NAME, version / REMOVED_NAME
    if manifest.exists():
        # First it is no version any more, wherever the removal may be interrupted; then look again, since a writer that
        # came in between may have read the manifest.
        manifest.rename(removed)
        if store.in_use(recording):
            removed.rename(manifest)
            return False
        sync(version)
    for path in _surplus_of(version):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return True


def _surplus_of(version: Path) -> list[Path]:
    """What retention removes of a version."""
    return [path for path in version.iterdir() if path.name not in (FIGURES, REMOVED_NAME, MANIFEST_NAME)]


def _remove_stale_sort_lock(folder: Path) -> None:
    lock = folder / SORT_LOCK
    if not lock.exists():
        return
    try:
        with exclusive_lock(lock):
            lock.unlink()
    except Locked:
        _log.info("'%s' has just been taken.", lock)


def _note(collected: Collected, store: Store, what: str, path: Path) -> None:
    collected.removed.append(Removal(what, _relative(store, path), num_bytes([path])))


def _relative(store: Store, path: Path) -> str:
    return path.relative_to(store.root).as_posix()
