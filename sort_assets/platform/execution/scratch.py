"""A fast local disk of the node for a sort: its `.dat` is copied there, and its sorter works there.

`SORT_ASSETS_SCRATCH` names a folder of it; without it nothing is done. Each sort has a folder there, under a lock that
the kernel releases when the sort dies, however it dies: the next sort on the node, and `sort-assets gc` there, remove
what dead sorts left. What a sort needs there is asked before; where it does not fit, or the disk fails, the sort goes
on without it and says so.

::

    <scratch>/sort_assets-<user id>/
      <recording>-<checksum>.lock     held by the sort
      <recording>-<checksum>/
        0.dat, 0.json                 the copy, one pair for each group of channels
        work/                         where the sorter works; what it leaves there is moved to the store
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import dagster as dg

from sort_assets.config.settings import SCRATCH_VARIABLE, absolute_folder, read_environment
from sort_assets.errors import DamagedArtefactError
from sort_assets.platform.store.files import num_bytes
from sort_assets.platform.store.locks import Locked, exclusive_lock
from sort_assets.recordings.dat_file import description_path, read_description

_LOCK_SUFFIX = ".lock"
_WORK = "work"
_CHUNK_BYTES = 16 << 20
_PATIENCE_S = 5.0
_NAME_LENGTH = 80


def scratch_root() -> Path | None:
    """Where this user's sorts have their folders on this node; None where there is no scratch.

    Raises
    ------
    InstanceError
        When the variable names no absolute path.
    """
    configured = read_environment().scratch
    if configured is None:
        return None
    return absolute_folder(SCRATCH_VARIABLE, configured) / f"sort_assets-{os.getuid()}"


class SortScratch:
    """The folder of one sort on the node's scratch, as a context manager: it is removed at the end.

    When the block ends with `RetryRequested` the copy stays for the next attempt, which checks it, or is removed by
    whoever sorts next on this node.

    Parameters
    ----------
    log, warn : callable
        Told what is done, and why something is not.
    """

    def __init__(self, log: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._log = log
        self._warn = warn
        self._held = ExitStack()
        self._folder: Path | None = None
        self._originals: dict[str, str] = {}

    def __enter__(self) -> "SortScratch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if self._folder is not None:
                _remove(self._folder / _WORK if isinstance(error, dg.RetryRequested) else self._folder)

    @property
    def work_folder(self) -> Path | None:
        """Where the sorter may work; None where that is the store."""
        return None if self._folder is None else self._folder / _WORK

    def take(
        self,
        recording: str,
        dat_paths: Mapping[str, Path],
        *,
        beside_bytes: int,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Path]:
        """Copy the files of a sort to the scratch, and check the copies.

        Parameters
        ----------
        recording : str
            The recording's key.
        dat_paths : Mapping[str, Path]
            In the store, by group of channels; empty for a sorter that reads the recording itself.
        beside_bytes : int
            What must fit onto the disk besides.
        progress : callable or None
            Called with the fraction that is copied, in [0, 1].

        Returns
        -------
        dict of str to Path
            What is to be sorted, by group: the copies, or the files in the store where there is no scratch for them.

        Raises
        ------
        DamagedArtefactError
            When what is in the store has not the checksum with which it was written.
        """
        root = scratch_root()
        if root is None:
            return dict(dat_paths)
        try:
            return self._take(root, recording, dat_paths, beside_bytes, progress)
        except Locked:
            self._give_up("another sort on this node uses the same copy")
        except OSError as error:
            if isinstance(error, DamagedArtefactError):
                raise
            self._give_up(f"it can't be used: {error}")
        return dict(dat_paths)

    def name_originals(self, folder: Path) -> None:
        """Have the small text files that a sorter left name the files in the store, not their copies."""
        if self._folder is None:
            return
        for path in folder.rglob("*"):
            if path.suffix in (".json", ".py") and path.is_file():
                text = path.read_text(encoding="utf-8", errors="surrogateescape")
                named = text
                for copy, original in self._originals.items():
                    named = named.replace(copy, original)
                named = named.replace(str(self._folder / _WORK), str(folder.parent))
                if named != text:
                    path.write_text(named, encoding="utf-8", errors="surrogateescape")

    def _take(
        self,
        root: Path,
        recording: str,
        dat_paths: Mapping[str, Path],
        beside_bytes: int,
        progress: Callable[[float], None] | None,
    ) -> dict[str, Path]:
        described = {group: read_description(path) for group, path in dat_paths.items()}
        checksums = hashlib.blake2b("".join(one.blake2b for one in described.values()).encode(), digest_size=8)
        folder = root / f"{recording[:_NAME_LENGTH]}-{checksums.hexdigest()}"
        remove_leftovers(root, but=folder)
        lock = exclusive_lock(
            folder.with_name(folder.name + _LOCK_SUFFIX),
            patience_s=_PATIENCE_S,
            make_folder=True,
            among_temporary_files=True,
        )
        self._held.enter_context(lock)
        self._folder = folder
        copies = {group: folder / f"{index}.dat" for index, group in enumerate(dat_paths)}
        valid = {group for group, copy in copies.items() if _checksum_of(copy) == described[group].blake2b}
        _remove(folder / _WORK)
        (folder / _WORK).mkdir(parents=True)
        missing = {group: one.num_bytes for group, one in described.items() if group not in valid}
        needed, free = sum(missing.values()) + beside_bytes, shutil.disk_usage(folder).free
        if free < needed:
            self._give_up(f"it has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed")
            return dict(dat_paths)
        if valid:
            self._log(f"The copy of the .dat that an earlier attempt left in '{folder}' is whole, and used again.")
        copied = 0

        def copied_more(num_bytes: int) -> None:
            nonlocal copied
            copied += num_bytes
            if progress is not None:
                progress(copied / sum(missing.values()))

        for group in missing:
            _copy(dat_paths[group], copies[group], described[group].blake2b, copied_more)
        for group, copy in copies.items():
            shutil.copyfile(description_path(dat_paths[group]), description_path(copy))
        self._originals = {str(copy): str(dat_paths[group]) for group, copy in copies.items()}
        self._log(f"The sort works in '{folder}', on this node's scratch ({copied / 1e9:.1f} GB copied and checked).")
        return copies

    def _give_up(self, why: str) -> None:
        self._warn(
            f"The scratch of this node ({SCRATCH_VARIABLE}={read_environment().scratch}) is not used: {why}. The sort "
            "reads and writes in the store, which may take longer."
        )
        folder, self._folder = self._folder, None
        with self._held:
            if folder is not None:
                _remove(folder)


def remove_leftovers(root: Path, *, but: Path | None = None, dry_run: bool = False) -> list[tuple[Path, int]]:
    """Remove what dead sorts left on this node's scratch; returns the folders and their sizes.

    Parameters
    ----------
    root : Path
        `scratch_root`.
    but : Path or None
        A folder to leave for who is about to use it.
    dry_run : bool
        Only say what would be removed.
    """
    removed = []
    for lock in sorted(root.glob(f"*{_LOCK_SUFFIX}")):
        folder = lock.with_name(lock.name.removesuffix(_LOCK_SUFFIX))
        if folder == but:
            continue
        with suppress(Locked, OSError), exclusive_lock(lock):
            removed.append((folder, num_bytes([folder]) if folder.exists() else 0))
            if not dry_run:
                _remove(folder)
    return removed


def _remove(folder: Path) -> None:
    """Remove a folder of a sort, whose lock is held, and the lock; or only the part of it where the sorter worked."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.name != _WORK:
        folder.with_name(folder.name + _LOCK_SUFFIX).unlink(missing_ok=True)


def _copy(source: Path, target: Path, checksum: str, copied_more: Callable[[int], None]) -> None:
    partial = target.with_suffix(".partial")
    hasher = hashlib.blake2b(digest_size=32)
    with source.open("rb") as reader, partial.open("wb") as writer:
        for chunk in _chunks(reader.read):
            writer.write(chunk)
            hasher.update(chunk)
            copied_more(len(chunk))
    if hasher.hexdigest() != checksum:
        raise DamagedArtefactError(
            f"'{source}' has not the checksum with which it was written: it was changed, or its disk, or the "
            "connection to it, returns other bytes.",
            remedy="Check the disk or the share, then materialize binary_dat again.",
            path=str(source),
        )
    partial.replace(target)


def _checksum_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    hasher = hashlib.blake2b(digest_size=32)
    with path.open("rb") as reader:
        for chunk in _chunks(reader.read):
            hasher.update(chunk)
    return hasher.hexdigest()


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(_CHUNK_BYTES):
        yield chunk
