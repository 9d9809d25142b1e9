"""The electrical series of an NWB file: which there are, at which rate, and which of them lie in another file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from sort_assets.errors import SortAssetsError, UnreadableRecordingError
from sort_assets.recordings.formats.reading import COPY_AGAIN, MIN_SORTABLE_RATE_HZ, clock_readable, open_hdf5, readable
from sort_assets.recordings.formats.stated_numbers import stated_rate
from sort_assets.recordings.timestamps import usual_rate_hz

# The groups in which NWB keeps signals; elsewhere there are only templates and analyses.
SIGNAL_GROUPS = ("acquisition", "processing")


@dataclass(frozen=True)
class Series:
    """One electrical series, or a link that should lead to one.

    Attributes
    ----------
    file : Path
        The file that describes it: another one where this one only has a link to it.
    path : str
        Its path in that file.
    samples_file : Path
        The file that holds its samples.
    rate_hz : float
        Samples per second; NaN where it can't be read.
    problem : SortAssetsError or None
        Why it can't be read.
    rate_is_stated : bool
        Whether the file states the rate; else it is that of the timestamps.
    """

    file: Path
    path: str
    samples_file: Path
    rate_hz: float = math.nan
    problem: SortAssetsError | None = None
    rate_is_stated: bool = True

    @property
    def may_hold_spikes(self) -> bool:
        """Whether it is fast enough, as far as that can be read."""
        return self.problem is not None or self.rate_hz >= MIN_SORTABLE_RATE_HZ

    @property
    def why_too_slow(self) -> str:
        """What it has instead of a rate that resolves spikes, for people."""
        if self.rate_is_stated:
            return f"{self.rate_hz:.6g} samples per second, too few for spikes: it holds local field potentials"
        return (
            f"{self.rate_hz:.6g} samples per second by its timestamps, too few for spikes: it holds local field "
            "potentials, or the timestamps are not in seconds, as NWB requires"
        )


def find_series(path: Path) -> dict[str, Series]:
    """The electrical series by their paths in a file, in its natural order; each once, however many links lead to it.

    Raises
    ------
    UnreadableRecordingError
        When the file is empty, truncated or no HDF5 file.
    """
    with open_hdf5(path) as file, readable(path):
        found: dict[str, Series] = {}
        samples: set[tuple[int, int]] = set()
        for name, group in _electrical_series(file, path):
            if isinstance(group, UnreadableRecordingError):
                found[name] = Series(path, name, path, problem=group)
                continue
            try:
                series, place = _read(name, group, path)
            except UnreadableRecordingError as error:
                found[name] = Series(path, name, path, problem=error)
                continue
            if place not in samples:
                samples.add(place)
                found[name] = series
        return found


def read_rate(name: str, series: Mapping[str, Any], path: Path) -> tuple[float, bool]:
    """Samples per second of a series, and whether the file states it; else it is that of the timestamps.

    Parameters
    ----------
    name : str
    series : mapping of str to data set
        What the series holds.
    path : Path
        The file, for messages.

    Raises
    ------
    UnreadableRecordingError
        When the series has no samples, or no rate that can be.
    """
    if "data" not in series or not {"starting_time", "timestamps"} & set(series):
        lacking = "neither a starting_time nor timestamps" if "data" in series else "no data"
        raise UnreadableRecordingError(
            f"The series '{name}' of '{path}' has {lacking}, which NWB requires.",
            remedy="Write the file again with samples, and with a rate or timestamps, in this series.",
        )
    is_stated = "starting_time" in series
    timestamps: Any = series.get("timestamps")
    if not is_stated and (timestamps.ndim != 1 or timestamps.dtype.kind not in "iuf"):
        raise UnreadableRecordingError(
            f"The timestamps of '{name}' in '{path}' are {timestamps.dtype} of shape {timestamps.shape}, not one "
            "number for each sample.",
            remedy="Write the file again with one timestamp for each sample, in seconds, or with a rate instead.",
        )
    with readable(path), clock_readable(path):
        rate_hz = (
            stated_rate(series["starting_time"].attrs.get("rate"), f"rate of {name}/starting_time", path)
            if is_stated
            else usual_rate_hz(timestamps)
        )
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise UnreadableRecordingError(
            f"The series '{name}' of '{path}' states {rate_hz} samples per second.",
            remedy="Correct its rate or its timestamps in the file.",
        )
    return rate_hz, is_stated


def _electrical_series(file: h5py.File, path: Path) -> Iterator[tuple[str, h5py.Group | UnreadableRecordingError]]:
    """Each series with its path in this file, in the order of the file; in place of one behind a broken link, why."""
    groups = [(name, file[name]) for name in reversed(SIGNAL_GROUPS) if name in file]
    # A link may lead back to a group above it. The groups are kept, since HDF5 numbers files as long as they are open.
    visited: dict[tuple[int, int], h5py.Group] = {}
    while groups:
        name, group = groups.pop()
        if _place(group) in visited:
            continue
        visited[_place(group)] = group
        if group.attrs.get("neurodata_type") == "ElectricalSeries":
            yield name, group
            continue
        inside = []
        for child in group:
            problem = _broken_link(group, child, f"{name}/{child}", path)
            if problem is not None:
                yield f"{name}/{child}", problem
            elif isinstance(group[child], h5py.Group):
                inside.append((f"{name}/{child}", group[child]))
        groups += reversed(inside)


def _place(thing: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    """The file, and where in it, which is the same by whatever links something was found."""
    found = h5py.h5o.get_info(thing.id)
    return found.fileno, found.addr


def _broken_link(group: h5py.Group, child: str, name: str, path: Path) -> UnreadableRecordingError | None:
    """What is to be said of a link that leads nowhere; None of all that is there."""
    if _is_there(group, child):
        return None
    link = group.get(child, getlink=True)
    if isinstance(link, h5py.SoftLink):
        return UnreadableRecordingError(
            f"'{name}' of '{path}' is a link to '{link.path}' in the same file, and that is not there, or leads "
            "back to it.",
            remedy="Put the series there, or remove the link; other series of the file can be sorted.",
        )
    if not isinstance(link, h5py.ExternalLink):
        return UnreadableRecordingError(f"'{name}' of '{path}' is damaged and can't be opened.", remedy=COPY_AGAIN)
    target_file = path.parent / link.filename
    if target_file.is_file():
        return UnreadableRecordingError(
            f"'{name}' of '{path}' is a link to '{link.path}' in '{target_file}', which holds no such "
            "thing or can't be opened.",
            remedy="Put the file there that the link was made to, or ignore this file with a rule.",
        )
    return UnreadableRecordingError(
        f"'{name}' of '{path}' is a link to '{link.path}' in '{target_file}', and that file is not there.",
        remedy=f"Put '{link.filename}' there, or ignore this file with a rule.",
    )


def _is_there(group: h5py.Group, child: str) -> bool:
    """Whether something can be opened by this name; `in` is true of links to nowhere, too."""
    try:
        return group[child] is not None
    except (KeyError, OSError, RuntimeError):  # RuntimeError: links that lead to each other
        return False


def _read(name: str, series: h5py.Group, path: Path) -> tuple[Series, tuple[int, int]]:
    """A series, and the place of its samples, which tells whether two are the same."""
    for part in ("data", "timestamps"):
        if part in series:
            problem = _broken_link(series, part, f"{name}/{part}", Path(series.file.filename))
            if problem is not None:
                raise problem
    rate_hz, is_stated = read_rate(name, series, path)
    with readable(path):
        data = series["data"]
        place = _place(data)
    file, samples_file = (_same_or_other(path, one.file.filename) for one in (series, data))
    here = name if file == path else series.name.strip("/")
    return Series(file, here, samples_file, rate_hz, rate_is_stated=is_stated), place


def _same_or_other(path: Path, name: str) -> Path:
    other = Path(name)
    return path if other.exists() and other.samefile(path) else other
