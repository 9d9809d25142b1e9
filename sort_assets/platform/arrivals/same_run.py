"""A run of SpikeGLX and what CatGT made of it hold the same spikes: one is registered, and a scan says which.

Where both are there before either is registered, it is CatGT's output, for whoever ran CatGT wants that. Where one is
registered already, it stays, and a person decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.recordings.formats.spikeglx_runs import (
    SPIKEGLX,
    RunFolder,
    common_streams,
    run_base,
    run_folder,
    run_rank,
)
from sort_assets.recordings.headers import RecordingHeader


@dataclass(frozen=True)
class SameRun:
    """Which streams of a recording are those of another one.

    Attributes
    ----------
    is_run : bool
        Whether it is a run of SpikeGLX, or made of one.
    made_by_catgt : bool
        Whether CatGT made the recording itself.
    streams : mapping of str to str
        By stream, the registered recording that holds the same spikes.
    waits_for : str or None
        What CatGT made of the recording, where that is not complete yet.
    """

    is_run: bool = False
    made_by_catgt: bool = False
    streams: Mapping[str, str] = field(default_factory=dict)
    waits_for: str | None = None

    def without_them(self, header: RecordingHeader) -> RecordingHeader:
        """The header without these streams, and with a sentence about them."""
        streams = tuple(stream for stream in header.streams if stream.name not in self.streams)
        problems = {name: problem for name, problem in header.problems.items() if name not in self.streams}
        if (len(streams), len(problems)) == (len(header.streams), len(header.problems)):
            return header
        return replace(header, streams=streams, problems=problems, left_out=(*header.left_out, self.sentence))

    @property
    def sentence(self) -> str:
        """What is said of them; empty where there are none."""
        if not self.streams:
            return ""
        others = "' and '".join(dict.fromkeys(self.streams.values()))
        what = "of which CatGT made this" if self.made_by_catgt else "which CatGT made of this run"
        always = (
            " To have CatGT's output sorted wherever there is one, ignore the runs themselves with a rule."
            if self.made_by_catgt
            else ""
        )
        return (
            f"The spikes of {', '.join(self.streams)} are those of '{others}', {what}, and that is registered. To sort "
            f"this instead, forget the other one (`sort-assets forget`).{always}"
        )

    @property
    def why_it_waits(self) -> str:
        """What is said where it waits."""
        return f"It waits for '{self.waits_for}', which CatGT made of this run and which is not complete yet."


class SameRuns:
    """Finds runs among the recordings that are known.

    Parameters
    ----------
    root : Path
        The recordings root.
    entries : mapping of str to CatalogEntry
        The recordings that are known, by path.
    """

    def __init__(self, root: Path, entries: Mapping[str, CatalogEntry]) -> None:
        self._root, self._entries = root, entries

    @cached_property
    def _by_name(self) -> Mapping[str, list[CatalogEntry]]:
        found: dict[str, list[CatalogEntry]] = {}
        for entry in self._entries.values():
            if entry.missing_since is None and entry.state in (State.REGISTERED, State.WAITING):
                for name in _names(entry.path):
                    found.setdefault(name, []).append(entry)
        return found

    def of(self, path: str, stamp: str) -> SameRun:
        """Which streams of a recording are those of another one.

        Parameters
        ----------
        path : str
            Relative to the root.
        stamp : str
            Of its files.
        """
        mine = run_folder(self._root / path, stamp) if (self._root / path).is_dir() else None
        if mine is None:
            return SameRun()
        streams: dict[str, str] = {}
        waits_for = None
        for entry, theirs in self._others(path, mine):
            common = common_streams(mine, theirs)
            if entry.state is State.REGISTERED:
                streams |= {stream: entry.path for stream in sorted(common) if stream not in streams}
            elif common and theirs.made_by > mine.made_by:
                waits_for = entry.path
        return SameRun(True, mine.made_by != SPIKEGLX, streams, waits_for if set(mine.streams) - set(streams) else None)

    def _others(self, path: str, mine: RunFolder) -> Iterator[tuple[CatalogEntry, RunFolder]]:
        bases = {run_base(run) for runs in mine.streams.values() for run in runs}
        names = {*_names(path), *bases, _SUPERCAT}
        others = {entry.path: entry for name in names for entry in self._by_name.get(name, ()) if entry.path != path}
        for entry in others.values():
            theirs = run_folder(self._root / entry.path, entry.stamp) if (self._root / entry.path).is_dir() else None
            if theirs is not None:
                yield entry, theirs


_SUPERCAT = "supercat_"


def _names(path: str) -> tuple[str, ...]:
    """By what a recording is found: its run, the folder that it lies in, and whether it may hold other runs."""
    parent, _, name = path.rpartition("/")
    return (run_base(name), f"{parent}/", *([_SUPERCAT] if run_rank(name) > SPIKEGLX else []))
