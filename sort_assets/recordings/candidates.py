"""Finding what may be a recording below a folder, by names alone: no file is opened.

The walk goes in a fixed order, so that a look that ran out of time can go on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sort_assets.config.rules import RULES_FILE, SIDECAR_SUFFIX
from sort_assets.errors import OutsideRecordingsRootError, SortAssetsError, StorageError
from sort_assets.recordings.fingerprint import is_clutter
from sort_assets.recordings.formats import FORMATS
from sort_assets.recordings.plain_binary import BINARY_SUFFIXES
from sort_assets.recordings.reading import not_allowed

Place = tuple[str, ...]
"""The parts of a path relative to the root; compared part by part, they are in the order of the walk."""

_PARTIAL = re.compile(
    r"\.(part|partial|filepart|tmp|temp|crdownload|download|incomplete|swp|!sync|!ut|aspera-ckpt)$|~$|^~",
    re.IGNORECASE,
)
"""Names under which copying and downloading programs keep what is not complete. Those that begin with a dot (rsync) are
left out with all hidden files."""


@dataclass(frozen=True)
class Candidate:
    """A file or folder that may be a recording.

    Attributes
    ----------
    place : tuple of str
        The parts of its path relative to the root.
    location : str
        Where it is; as text, since most are known and of no further interest.
    stamp : str
        Sizes and times of its files: as long as it stays the same, nobody has written to them.
    complete : bool
        Whether no part of it has the name of a partial copy.
    sidecar : Path or None
        The sidecar that describes it, its own or that of the nearest folder above it.
    sidecar_stamp : str
        Changes when the sidecar does.
    """

    place: Place
    location: str
    stamp: str
    complete: bool
    sidecar: Path | None
    sidecar_stamp: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.location)

    @property
    def relative(self) -> str:
        """The path relative to the root, with ``/``."""
        return "/".join(self.place)


@dataclass(frozen=True)
class Refusal:
    """Something that is not looked into, and why."""

    place: Place
    problem: SortAssetsError

    @property
    def relative(self) -> str:
        """The path relative to the root, with ``/``."""
        return "/".join(self.place)


class Judge(Protocol):
    """What rules and sidecars say, as far as the walk must know it.

    `relative` is a path relative to the root, `sidecar` the nearest one. All may raise `SortAssetsError`.
    """

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        """Whether nothing in this folder is a recording."""

    def concatenates(self, relative: str, sidecar: Path | None) -> bool:
        """Whether the folder is one recording, its files concatenated."""

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        """Whether the file is a plain binary that is described."""


@dataclass(frozen=True)
class _Sidecar:
    path: Path | None = None
    stamp: str = ""


def find_candidates(root: Path, judge: Judge, *, after: Place = ()) -> Iterator[Candidate | Refusal]:
    """Everything below a folder that may be a recording, in a fixed order.

    Symbolic links are not followed: what a link inside the root leads to is found in its own place, and one that leads
    outside is refused. Hidden files and names of partial copies are passed over. A folder that is a recording is not
    searched for others.

    Parameters
    ----------
    root : Path
        The recordings root.
    judge : Judge
    after : tuple of str
        Where an earlier walk stopped; what comes before, and that itself, is left out.

    Raises
    ------
    StorageError
        When the root itself can't be listed.
    """
    try:
        entries = _list(root)
    except OSError as error:
        raise StorageError(
            f"The recordings root '{root}' can't be listed: {error.strerror}.",
            remedy="Check SORT_ASSETS_RECORDINGS, and that the disk or share is mounted and readable.",
        ) from error
    yield from _walk(root.resolve(), (), entries, _Sidecar(), judge, after)


def stamp_of(path: Path) -> str:
    """Sizes and times of a file, or of all files in a folder.

    Times of content and of change both count: neither a copy that keeps the original's times nor a file that takes
    another's place goes unnoticed.

    Raises
    ------
    OSError
    """
    return _folder_stamp(path)[0] if path.is_dir() else _stamp(path.stat())


def _walk(
    root: Path, folder: Place, entries: list[os.DirEntry[str]], inherited: _Sidecar, judge: Judge, after: Place
) -> Iterator[Candidate | Refusal]:
    sidecars = {entry.name: entry for entry in entries if entry.name.endswith(SIDECAR_SUFFIX)}
    for entry in entries:
        name = entry.name
        if name.startswith(".") or name.endswith(SIDECAR_SUFFIX) or name == RULES_FILE:
            continue
        place = (*folder, name)
        if after and place <= after and after[: len(place)] != place:
            continue
        if entry.is_symlink():
            if place > after and (refusal := _refused_link(root, place, entry)):
                yield refusal
            continue
        if entry.is_dir(follow_symlinks=False):
            if not _PARTIAL.search(name):
                yield from _folder(root, place, entry, sidecars, inherited, judge, after)
        elif place > after and _may_be_file(name) and not _PARTIAL.search(name):
            yield from _file(place, entry, sidecars, inherited, judge)


def _folder(
    root: Path,
    place: Place,
    entry: os.DirEntry[str],
    sidecars: dict[str, os.DirEntry[str]],
    inherited: _Sidecar,
    judge: Judge,
    after: Place,
) -> Iterator[Candidate | Refusal]:
    relative = "/".join(place)
    own = sidecars.get(f"{entry.name}{SIDECAR_SUFFIX}")
    path = Path(entry.path)
    try:
        sidecar = _sidecar(own) if own else inherited
        if judge.ignores_folder(relative, sidecar.path):
            return
        entries = _list(path)
        names = {inner.name for inner in entries}
        whole = any(one.may_be_folder(entry.name, names) for one in FORMATS)
        if whole or judge.concatenates(relative, sidecar.path):
            if place > after:
                stamp, complete = _folder_stamp(path)
                yield Candidate(place, entry.path, stamp, complete, sidecar.path, sidecar.stamp)
            return
    except FileNotFoundError:
        return  # removed while we looked
    except OSError as error:
        if place > after:
            yield Refusal(place, not_allowed(path, error))
        return
    except SortAssetsError as error:
        if place > after:
            yield Refusal(place, error)
        return
    yield from _walk(root, place, entries, sidecar, judge, after)


def _file(
    place: Place,
    entry: os.DirEntry[str],
    sidecars: dict[str, os.DirEntry[str]],
    inherited: _Sidecar,
    judge: Judge,
) -> Iterator[Candidate | Refusal]:
    own = sidecars.get(f"{entry.name}{SIDECAR_SUFFIX}")
    try:
        sidecar = _sidecar(own) if own else inherited
        if _needs_description(entry.name) and not judge.describes_binary("/".join(place), sidecar.path):
            return
        if not entry.is_file(follow_symlinks=False):
            return  # a pipe or a device, which would hold whoever opens it
        yield Candidate(
            *(place, entry.path, _stamp(entry.stat(follow_symlinks=False)), True, sidecar.path, sidecar.stamp)
        )
    except FileNotFoundError:
        return
    except OSError as error:
        yield Refusal(place, not_allowed(Path(entry.path), error))
    except SortAssetsError as error:
        yield Refusal(place, error)


def _may_be_file(name: str) -> bool:
    return _needs_description(name) or any(one.may_be_file(name) for one in FORMATS)


def _needs_description(name: str) -> bool:
    return name.lower().endswith(BINARY_SUFFIXES)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _sidecar(entry: os.DirEntry[str]) -> _Sidecar:
    return _Sidecar(Path(entry.path), f"{entry.path}:{_stamp(entry.stat())}")


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _folder_stamp(folder: Path) -> tuple[str, bool]:
    """The stamp of a folder, and whether nothing in it has the name of a partial copy."""
    digest = hashlib.blake2b(digest_size=16)
    complete = True
    for line, name in _stamped_files(folder, ""):
        complete = complete and not _PARTIAL.search(name)
        digest.update(line)
    return digest.hexdigest(), complete


def _stamped_files(folder: Path, prefix: str) -> Iterator[tuple[bytes, str]]:
    for entry in _list(folder):
        name = f"{prefix}{entry.name}"
        if is_clutter(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _stamped_files(Path(entry.path), f"{name}/")
        else:
            yield os.fsencode(f"{name}\0{_stamp(entry.stat(follow_symlinks=False))}\n"), entry.name


def _refused_link(root: Path, place: Place, entry: os.DirEntry[str]) -> Refusal | None:
    try:
        target = Path(entry.path).resolve()
    except (OSError, RuntimeError):  # a loop of links
        return None
    if target.is_relative_to(root):
        return None
    may_be = target.is_dir() or _may_be_file(entry.name) or _may_be_file(target.name)
    if not may_be:
        return None
    return Refusal(
        place,
        OutsideRecordingsRootError(
            f"'{entry.path}' is a symbolic link that leads outside the recordings root.",
            remedy="Put the recordings themselves below the root, mount their disk there, or make the root a folder "
            "that holds both.",
        ),
    )
