"""The artefact store: ``<root>/<recording>/<asset>/<version>/``, published by one atomic step.

An artefact is written in a hidden staging folder beside its place, completed by a manifest, and renamed; then the link
``current`` is replaced. A reader never sees half an artefact. A writer that dies leaves a staging folder, whose lock
the kernel has released and which names its owner, and perhaps a link not yet in its place; the next writer of the same
asset removes them.

Beside the versions, ``failed/`` remembers failed attempts. Names that no recording's key can begin with, ``@`` and
``.``, are not recordings.
"""

import json
import logging
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sort_assets.errors import LostLockError, MissingArtefactError, RecordingBusyError
from sort_assets.platform.store.dead_staging import living_staging, remove_dead_staging
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.files import entries, remove_empty, sync
from sort_assets.platform.store.layout import (
    ALL_RECORDINGS,
    CURRENT,
    FIGURES,
    FRESH_LINK,
    LOCK_SUFFIX,
    MANIFEST_NAME,
    REMOVED_NAME,
    SORT_LOCK,
    STAGING,
)
from sort_assets.platform.store.living_writers import RunIsOver, nobody_knows
from sort_assets.platform.store.locks import (
    DEAD_HOSTS_LOCK_S,
    HeldLock,
    Locked,
    Owner,
    exclusive_lock,
    is_locked,
    words_for_holder,
)
from sort_assets.platform.store.manifest import InputVersion, Manifest, file_sizes, package_versions, read_manifest
from sort_assets.platform.store.step_cost import StepCost

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artefact:
    """A published, complete version of an asset of a recording.

    Attributes
    ----------
    path : Path
        Its folder.
    manifest : Manifest
        What it is and how it was made.
    """

    path: Path
    manifest: Manifest


@dataclass
class Staging:
    """A folder in which one version of an artefact is being written.

    Attributes
    ----------
    path : Path
        Write here.
    final_path : Path
        Where the folder will be after `publish`.
    recording, asset : str
        Of what it is a version.
    run_id : str
        The Dagster run that writes.
    attempt : int
        Which attempt of its step; the first is 1.
    before_publishing : callable
        Called when all is written, right before it becomes the current version; an exception prevents that.
    locks : dict of Path to HeldLock
        The lock files that must still be this process's for the artefact to be published.
    published : Artefact or None
        What `publish` made of it.
    """

    path: Path
    final_path: Path
    recording: str
    asset: str
    run_id: str
    attempt: int = 1
    before_publishing: Callable[[], None] = field(default=lambda: None)
    locks: dict[Path, HeldLock] = field(default_factory=dict)
    published: Artefact | None = field(default=None, init=False)

    @property
    def version(self) -> str:
        """The version's name in the store."""
        return self.final_path.name

    @property
    def figures(self) -> Path:
        """Folder for the figures of this version; they stay when the version itself is cleaned up."""
        folder = self.path / FIGURES
        folder.mkdir(exist_ok=True)
        return folder

    def publish(
        self,
        *,
        data_version: str,
        config: Mapping[str, Any],
        config_sources: Mapping[str, str],
        inputs: Mapping[str, InputVersion],
        details: Details,
        cost: StepCost | None = None,
    ) -> Artefact:
        """Complete the artefact with its manifest and make it the current version, atomically.

        Raises
        ------
        LostLockError
            When the file server has dropped a lock of this process, and others may have taken its place.
        """
        manifest = Manifest(
            asset=self.asset,
            recording=self.recording,
            version=self.version,
            run_id=self.run_id,
            created=datetime.now(UTC),
            host=socket.gethostname(),
            data_version=data_version,
            config=dict(config),
            config_sources=dict(config_sources),
            packages=package_versions(),
            inputs=dict(inputs),
            files=file_sizes(self.path),
            details=details.to_json(),
            cost=cost,
        )
        for path in (*self.path.rglob("*"), self.path):
            sync(path)
        manifest_path = self.path / MANIFEST_NAME
        manifest_path.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        sync(manifest_path)
        sync(self.path)
        self.before_publishing()
        self._refuse_if_replaced()
        self.path.rename(self.final_path)
        _replace_link(self.final_path.parent / CURRENT, self.version)
        sync(self.final_path.parent)
        self.published = Artefact(self.final_path, manifest)
        return self.published

    def _refuse_if_replaced(self) -> None:
        for path, lock in self.locks.items():
            if not lock.is_held(path):
                raise LostLockError(
                    f"The lock '{path}' is no longer this process's: {lock.owner.host} was cut off from the file "
                    "server, or stood still, for so long that the server dropped it. Another process may work in its "
                    "place, so that nothing is published.",
                    remedy="See whether another attempt has made the result; if not, materialize again. If it happens "
                    "again, check the connection to the file server, and look into `dmesg`.",
                    path=str(path),
                )


class Store:
    """All artefacts below one folder.

    Parameters
    ----------
    root : Path
        Absolute; made when the first artefact is written.
    run_is_over : callable
        Tells of a Dagster run whether it is over, for what writers on other hosts left.
    """

    def __init__(self, root: Path, run_is_over: RunIsOver = nobody_knows) -> None:
        self.root = root
        self.run_is_over = run_is_over

    def asset_folder(self, recording: str, asset: str) -> Path:
        """Where the versions of an asset of a recording are."""
        return self.root / recording / asset

    @contextmanager
    def stage(
        self,
        recording: str,
        asset: str,
        *,
        run_id: str,
        attempt: int = 1,
        before_publishing: Callable[[], None] = lambda: None,
        locks: Mapping[Path, HeldLock] | None = None,
    ) -> Iterator[Staging]:
        """Write a new version of an artefact.

        What is in the staging folder is thrown away unless `Staging.publish` was called, however the block ends; if
        this process is killed, by the next call for the same asset, which keeps the logs as a `FailedAttempt`.

        Parameters
        ----------
        recording : str
            The recording's key.
        asset : str
            The asset's name.
        run_id : str
            The Dagster run that writes; part of the version's name.
        attempt : int
            Which attempt of the run's step this is; the first is 1.
        before_publishing : callable
            Called right before the artefact becomes the current version; an exception prevents that.
        locks : Mapping[Path, HeldLock] or None
            Locks that this process must still hold when it publishes, besides the one of its staging folder.
        """
        folder = self.asset_folder(recording, asset)
        created = [parent for parent in (folder, folder.parent) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        remove_dead_staging(self, recording, asset, run_id=run_id)
        now = datetime.now(UTC)
        version = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{run_id[:8]}"
        staging = Staging(
            folder / f"{STAGING}{version}", folder / version, recording, asset, run_id, attempt, before_publishing
        )
        lock = folder / f"{STAGING}{version}{LOCK_SUFFIX}"
        with ExitStack() as held:
            try:
                # Nobody else writes this version; another writer's clean-up may hold the lock for a moment.
                taken = exclusive_lock(lock, patience_s=DEAD_HOSTS_LOCK_S, waiting=_log.warning, make_folder=True)
                descriptor = held.enter_context(taken)
            except Locked as locked:
                raise RecordingBusyError(
                    f"{words_for_holder(lock).capitalize()} was not given back for {DEAD_HOSTS_LOCK_S:.0f} s.",
                    remedy="Look for a `sort-assets gc` that stands still, end it, then materialize again.",
                ) from locked
            try:
                staging.locks |= {**(locks or {}), lock: Owner.this_process(run_id, attempt).sign(descriptor)}
                staging.path.mkdir()
                yield staging
            finally:
                shutil.rmtree(staging.path, ignore_errors=True)
                lock.unlink(missing_ok=True)
                if staging.published is None:
                    remove_empty(created)

    def artefact(self, recording: str, asset: str, version: str | None = None) -> Artefact:
        """A published artefact: the named version, or the current one.

        Raises
        ------
        MissingArtefactError
            When it is not there.
        DamagedArtefactError
            When its files are not what its manifest says.
        """
        folder = self.asset_folder(recording, asset)
        # The link is followed once, so that a version published meanwhile can't be mixed in.
        path = folder / version if version is not None else (folder / CURRENT).resolve()
        if (path / REMOVED_NAME).is_file():
            raise MissingArtefactError(
                f"Version {path.name} of {asset} of '{recording}' is no longer kept: retention removed it, its figures "
                "aside.",
                remedy=f"Materialize {asset}, and what depends on it, for this recording. SORT_ASSETS_KEEP says how "
                "many versions are kept.",
            )
        if not (path / MANIFEST_NAME).is_file():
            what = f"version {version} of {asset}" if version is not None else asset
            raise MissingArtefactError(
                f"The store has no {what} of '{recording}' (looked in '{folder}').",
                remedy=f"Materialize {asset}."
                if recording == ALL_RECORDINGS
                else f"Materialize {asset}, and what depends on it, for this recording.",
            )
        return Artefact(path, read_manifest(path))

    def removed_manifest(self, recording: str, asset: str, version: str | None) -> Manifest | None:
        """The manifest of a version that retention removed; None where there is no such version."""
        path = self.asset_folder(recording, asset) / (version or CURRENT) / REMOVED_NAME
        try:
            return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def summary(self, recording: str, asset: str) -> dict[str, Any] | None:
        """The current version's manifest as it stands there, or None; unchecked, so that thousands are quick."""
        try:
            with open(f"{self.root}/{recording}/{asset}/{CURRENT}/{MANIFEST_NAME}", "rb") as file:  # noqa: PTH123 - quick
                summary: dict[str, Any] = json.load(file)
        except (OSError, ValueError):
            return None
        return summary

    def versions(self, recording: str, asset: str) -> list[str]:
        """The published versions, oldest first."""
        return [
            path.name
            for path in entries(self.asset_folder(recording, asset))
            if not path.name.startswith(STAGING) and not path.is_symlink() and (path / MANIFEST_NAME).is_file()
        ]

    def recordings(self) -> list[str]:
        """The recordings of which anything is in the store."""
        return _folders_in(self.root)

    def assets(self, recording: str) -> list[str]:
        """The assets of a recording of which anything is in the store."""
        return _folders_in(self.root / recording)

    def in_use(self, recording: str) -> bool:
        """Whether somebody writes any asset of a recording, or sorts it: a running sort may read an old `.dat`."""
        return is_locked(self.asset_folder(recording, "sorting") / SORT_LOCK) or any(
            living_staging(self.asset_folder(recording, asset), self.run_is_over) for asset in self.assets(recording)
        )


def _folders_in(folder: Path) -> list[str]:
    return [path.name for path in entries(folder) if path.is_dir() and not path.name.startswith(("@", "."))]


def _replace_link(link: Path, target: str) -> None:
    fresh = link.with_name(f"{FRESH_LINK}{target}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
