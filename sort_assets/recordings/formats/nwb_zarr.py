"""NWB in the form of a zarr folder, as hdmf-zarr writes it: its electrical series and its table of electrodes.

hdmf-zarr itself is not needed. It stores references to objects with the codec pickle, such as the column `group` of the
electrodes: no array with that codec is ever read. Links are attributes.
Layout: https://hdmf-zarr.readthedocs.io/en/stable/storage.html.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from spikeinterface.extractors.nwbextractors import _NWBReader  # noqa: TID253

from sort_assets.errors import MissingPluginError, UnreadableRecordingError
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.nwb_electrodes import ELECTRODES, NEEDED_COLUMNS, electrodes_problem
from sort_assets.recordings.formats.nwb_series import SIGNAL_GROUPS, Series, read_rate
from sort_assets.recordings.formats.reading import COPY_AGAIN, natural_order, readable

_CHUNK = re.compile(r"\d+([./]\d+)*")
_LINKS = ("zarr_link", "_LINKS")
"""Attributes that hold links; the second one in versions of hdmf-zarr from 0.14."""
_OUTSIDE = (
    "Export the file with the linked series in it (NWBZarrIO.export with link_data=False), or sort the file to which "
    "the link leads."
)


class ZarrNwbReader(_NWBReader):  # type: ignore[misc]
    """SpikeInterface's reader of a series and its electrodes, with links, and without anything that is pickled.

    SpikeInterface's own (up to 0.105.3) follows only the link to the electrodes, and would unpickle whatever a column
    holds.

    Parameters
    ----------
    electrical_series_path : str
        The series.

    Attributes
    ----------
    electrodes_problem : str or None
        Why the electrodes can't be read, as the end of a sentence.
    """

    electrodes_problem: str | None = None

    def __init__(self, electrical_series_path: str) -> None:
        super().__init__(reading_method="use_zarr", electrical_series_path=electrical_series_path)

    def load_recording(self, *, file_path: Path, **_: Any) -> None:
        """Open the folder, the series and its electrodes."""
        self.file = open_zarr_nwb(file_path)
        self.series = series_members(self.file, self.electrical_series_path, file_path)
        rows: Any = self.series.get("electrodes")
        table = _Table.of(self.file.get(ELECTRODES))
        self.electrodes_problem = electrodes_problem(rows, table)
        if self.electrodes_problem is None:
            self.electrodes_indices, self.electrodes_table = rows[:], table


class _Table(dict[str, zarr.Array]):
    """The columns of a table that can be read without unpickling."""

    attrs: Mapping[str, Any]

    @classmethod
    def of(cls, group: zarr.Group | None) -> _Table | None:
        if not isinstance(group, zarr.Group):
            return None
        table = cls({name: array for name, array in group.arrays() if not _is_pickled(array)})
        table.attrs = group.attrs
        return table


def open_zarr_nwb(path: Path) -> zarr.Group:
    """Open the folder.

    Raises
    ------
    UnreadableRecordingError
        When it has zarr's format 3, or is damaged.
    """
    if (path / "zarr.json").is_file():
        raise UnreadableRecordingError(
            f"'{path}' is an NWB file in the form of a zarr folder of format 3, which is not read.",
            remedy="Export it to HDF5, with the packages hdmf-zarr and pynwb: NWBHDF5IO('FILE.nwb', 'w').export("
            "src_io=NWBZarrIO('FOLDER', 'r')). Then ignore the folder with a rule.",
        )
    with readable(path):
        return zarr.open_group(str(path), mode="r")


def is_zarr_nwb(path: Path) -> bool:
    """Whether a zarr folder calls itself NWB.

    Raises
    ------
    UnreadableRecordingError
        When it is named so and does not, or can't be opened.
    """
    attributes = open_zarr_nwb(path).attrs
    with readable(path):
        if attributes.get("neurodata_type") == "NWBFile" or "nwb_version" in attributes:
            return True
    if ".nwb" not in path.name.lower():
        return False
    raise UnreadableRecordingError(
        f"'{path}' is damaged or incomplete: its attributes (.zattrs) do not say that it is an NWB file.",
        remedy=COPY_AGAIN,
    )


def find_zarr_series(path: Path) -> dict[str, Series]:
    """The electrical series by their paths in the folder; each once, however many links lead to it."""
    root = open_zarr_nwb(path)
    found: dict[str, Series] = {}
    samples: set[str] = set()
    with readable(path):
        for name in _electrical_series(root):
            try:
                with readable(path):
                    members = series_members(root, name, path)
                rate_hz, is_stated = read_rate(name, members, path)
            except (UnreadableRecordingError, MissingPluginError) as error:
                found[name] = Series(path, name, path, problem=error)
                continue
            if members["data"].path not in samples:
                samples.add(members["data"].path)
                found[name] = Series(path, name, path, rate_hz, rate_is_stated=is_stated)
    return found


def note_missing_chunks(path: Path, series: str, missing: Missing) -> None:
    """Note chunks of samples, times and electrodes that are not there, which zarr silently reads as zeros."""
    with readable(path):
        root = open_zarr_nwb(path)
        table = root.get(ELECTRODES, {})
        arrays = {f"{series}/{name}": array for name, array in series_members(root, series, path).items()}
        arrays |= {f"{ELECTRODES}/{name}": table[name] for name in NEEDED_COLUMNS if name in table}
        for name, array in arrays.items():
            lacking = array.nchunks - _num_chunks(path / array.path)
            if lacking > 0:
                missing.note(
                    f"'{path}' lacks {lacking} of {array.nchunks} chunks of '{name}', which are read as zeros."
                )


def series_members(root: zarr.Group, name: str, path: Path) -> dict[str, Any]:
    """The arrays of a series by name, through links within the folder.

    Raises
    ------
    UnreadableRecordingError
        When a link leads elsewhere or nowhere, or an array could only be read by unpickling.
    """
    group = root[name]
    arrays = dict(group.arrays())
    for link in _links(group):
        arrays[link["name"]] = _linked(root, link, f"{name}/{link['name']}", path)
    for member, array in arrays.items():
        if _is_pickled(array):
            raise UnreadableRecordingError(
                f"'{name}/{member}' of '{path}' is stored with the codec pickle, and reading that could run foreign "
                "code.",
                remedy="Write the file again in a program that you trust, with plain numbers.",
            )
    return arrays


def plain_value(group: zarr.Group | Mapping[str, Any], name: str) -> Any:
    """A value, or several, of an array as numpy has them; None when there is none, or only a pickle."""
    array = group.get(name)
    if not isinstance(array, zarr.Array) or _is_pickled(array):
        return None
    values = np.asarray(array[()])
    is_one = array.attrs.get("zarr_dtype") == "scalar" or values.ndim == 0
    return values.ravel()[0] if is_one and values.size else values


def _electrical_series(root: zarr.Group) -> Iterator[str]:
    for top in SIGNAL_GROUPS:
        groups = [top] if top in root else []
        while groups:
            name = groups.pop(0)
            if root[name].attrs.get("neurodata_type") == "ElectricalSeries":
                yield name
                continue
            inside = sorted((child for child, _ in root[name].groups()), key=natural_order)
            groups = [f"{name}/{child}" for child in inside] + groups


def _links(group: zarr.Group) -> list[dict[str, Any]]:
    return [link for attribute in _LINKS for link in group.attrs.get(attribute, ())]


def _linked(root: zarr.Group, link: Mapping[str, Any], name: str, path: Path) -> zarr.Array:
    source = link.get("source", ".")
    if source not in (".", "", None) and (path.parent / source).resolve() != path.resolve():
        raise UnreadableRecordingError(f"'{name}' of '{path}' is a link into '{source}'.", remedy=_OUTSIDE)
    target = root.get(str(link["path"]).strip("/"))
    if not isinstance(target, zarr.Array):
        raise UnreadableRecordingError(
            f"'{name}' of '{path}' is a link to '{link['path']}' in the same folder, and that is not there.",
            remedy="Put the series there, or remove the link; other series of the file can be sorted.",
        )
    return target


def _num_chunks(folder: Path) -> int:
    """How many chunks of an array are there, in one folder or nested.

    zarr (up to 2.18) counts wrongly those of nested arrays, and of arrays without dimensions (`nchunks_initialized`).
    """
    names = (Path(parent, name) for parent, _, files in os.walk(folder) for name in files)
    return sum(_CHUNK.fullmatch(name.relative_to(folder).as_posix()) is not None for name in names)


def _is_pickled(array: zarr.Array) -> bool:
    codecs = [*(array.filters or ()), *([] if array.compressor is None else [array.compressor])]
    return any("pickle" in str(codec.codec_id).lower() for codec in codecs)
