"""Refusing folders that would make a library unpickle something: a pickle runs whatever code its author put into it.

SpikeInterface (up to 0.105.3) reads the properties of its folders with ``numpy.load(allow_pickle=True)``, and zarr
arrays name the codec that decodes them. Every folder that others may have written is searched before it is opened.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sort_assets.errors import UnreadableRecordingError

_PICKLE_SUFFIXES = (".pkl", ".pickle")
_ZARR_METADATA = (".zarray", ".zmetadata", "zarr.json")
_REMEDY = (
    "Open the folder where it was made, in a program you trust, and save it again without Python objects (a "
    "provenance.pkl can simply be deleted)."
)


def refuse_pickles(folder: Path) -> None:
    """Look for anything in a folder that could only be read by unpickling.

    Only file names, headers of numpy files and zarr's descriptions are read.

    Parameters
    ----------
    folder : Path
        Folder of SpikeInterface or zarr, searched with all folders below it, also through symbolic links.

    Raises
    ------
    UnreadableRecordingError
        When there is a pickle file, a numpy file with Python objects or without numpy's header, or a zarr array
        with the pickle codec.
    """
    for file in _files_below(folder):
        reason = _reason_to_refuse(file)
        if reason is not None:
            raise UnreadableRecordingError(
                f"'{file}' {reason}, and reading that could run foreign code.", remedy=_REMEDY
            )


def _files_below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        real_parent = os.path.realpath(parent)
        if real_parent in seen:
            subfolders.clear()
            continue
        seen.add(real_parent)
        for name in names:
            yield Path(parent) / name


def _reason_to_refuse(file: Path) -> str | None:
    suffix = file.suffix.lower()
    if suffix in _PICKLE_SUFFIXES:
        return "is a pickle"
    if suffix == ".npy" and file.stat().st_size:  # an empty one is left by a crash
        with file.open("rb") as stream:
            return _reason_to_refuse_array(stream)
    if suffix == ".npz":
        return _reason_to_refuse_archive(file)
    if file.name in _ZARR_METADATA and _names_pickle_codec(_read_json(file)):
        return "describes a zarr array with the pickle codec"
    return None


def _reason_to_refuse_array(stream: IO[bytes]) -> str | None:
    from numpy.lib import format as npy_format

    read_header = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    try:
        # numpy.load treats a file without numpy's magic bytes as a pickle, whatever its name.
        version = npy_format.read_magic(stream)
        _, _, dtype = read_header.get(version, npy_format.read_array_header_2_0)(stream)
    except ValueError:
        return "has the name of a numpy array but not its header"
    return "is a numpy array of Python objects" if dtype.hasobject else None


def _reason_to_refuse_archive(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                with archive.open(name) as stream:
                    reason = _reason_to_refuse_array(stream)
                if reason is not None:
                    return f"holds '{name}', which {reason}"
    except zipfile.BadZipFile:
        return "has the name of a numpy archive but is none"
    return None


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise UnreadableRecordingError(
            f"'{file}' is not valid JSON: {error}.",
            remedy="Compare it with the original, and copy it again if they differ. If they do not, save the recording "
            "again.",
        ) from error


def _names_pickle_codec(metadata: Any) -> bool:
    """Whether any codec in zarr's description, at any depth, is called pickle ("id" in version 2, "name" in 3)."""
    if isinstance(metadata, dict):
        codec = metadata.get("id", metadata.get("name"))
        if isinstance(codec, str) and codec.lower().split(".")[-1] == "pickle":
            return True
        return any(_names_pickle_codec(value) for value in metadata.values())
    if isinstance(metadata, list):
        return any(_names_pickle_codec(value) for value in metadata)
    return False
