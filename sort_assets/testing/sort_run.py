"""Running a sort as the platform does, and recording what it leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.recordings.dat_file import read_dat

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

    from sort_assets.backends import SorterBackend


@dataclass(frozen=True)
class SortRun:
    """One sort and what it left.

    Attributes
    ----------
    backend : SorterBackend
        That sorted.
    recording : BaseRecording
        What was sorted.
    dat_path : Path or None
        Its `.dat`.
    sorting : BaseSorting
        What was found.
    output_folder : Path
        That the sorter was given.
    written_elsewhere : tuple of Path
        What appeared in the working directory, beside the `.dat` or beside the output folder.
    """

    backend: SorterBackend
    recording: BaseRecording
    dat_path: Path | None
    sorting: BaseSorting
    output_folder: Path
    written_elsewhere: tuple[Path, ...]


def make_sort_input(backend: SorterBackend, raw: BaseRecording, folder: Path) -> tuple[BaseRecording, Path | None]:
    """Load and write a recording as the platform does before it sorts.

    Returns
    -------
    recording : BaseRecording
        The view of the `.dat`, or the lazy recording of a backend that writes none.
    dat_path : Path or None
        The `.dat`, in `folder`.
    """
    recording = backend.load_recording(raw)
    dat_path = folder / "traces.dat"
    backend.write_recording(recording, dat_path)
    return (read_dat(dat_path), dat_path) if backend.writes_dat else (recording, None)


def run_sort(backend: SorterBackend, recording: BaseRecording, dat_path: Path | None, folder: Path) -> SortRun:
    """Sort in `folder`, and find what appears outside of the output folder.

    Parameters
    ----------
    backend : SorterBackend
        To be tested.
    recording : BaseRecording
        What is sorted.
    dat_path : Path or None
        Its `.dat`.
    folder : Path
        An empty folder; the output folder and the working directory are made in it.
    """
    output_folder, working_directory = folder / "sorter", folder / "working_directory"
    working_directory.mkdir()
    places = [folder, *([dat_path.parent] if dat_path is not None else [])]
    before = set(_files(places))
    came_from = Path.cwd()
    os.chdir(working_directory)
    try:
        sorting = backend.sort(recording, None, dat_path, output_folder)
    finally:
        os.chdir(came_from)
    appeared = (path for path in _files(places) if path not in before and not path.is_relative_to(output_folder))
    return SortRun(backend, recording, dat_path, sorting, output_folder, tuple(appeared))


def _files(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())
