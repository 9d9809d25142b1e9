"""A run of SpikeGLX, and what CatGT made of it: which folders hold the same spikes.

CatGT writes `catgt_run_g0` with one file for all triggers of a run (or of several gates of it), and `supercat_run_g0`
with several runs behind each other; the descriptions of its files keep when the run was made, and CatGT's commands:
https://billkarsh.github.io/SpikeGLX/#catgt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from sort_assets.recordings.formats.spikeglx_files import CONCATENATED, Trigger, find_triggers

SPIKEGLX, CATGT, SUPERCAT = range(3)
"""Who made a folder; what comes later stands for what came before."""

_COMMAND = "catGTCmdline"
_MADE_BY_CATGT = re.compile(r"(?P<kind>catgt|supercat)_")
_GATES = re.compile(r"-g=(?P<first>\d+)(,(?P<last>\d+))?")
_FOLDER = re.compile(r"-dir=(?P<folder>[^ ]+)")
_ELEMENT = re.compile(r"\{(?P<folder>[^,}]+),(?P<run>[^}]+)\}")


@dataclass(frozen=True)
class RunFolder:
    """What a folder holds of which runs.

    Attributes
    ----------
    path : Path
    made_by : int
        `SPIKEGLX`, `CATGT` or `SUPERCAT`.
    streams : mapping of str to frozenset of str
        By stream ("imec0.ap"), the runs with their gates ("run_g0") whose spikes it holds.
    created : frozenset of str
        When the runs were made, as the files state it.
    sources : frozenset of str
        Names of the folders that CatGT read the runs from.
    """

    path: Path
    made_by: int
    streams: Mapping[str, frozenset[str]]
    created: frozenset[str]
    sources: frozenset[str]


def run_rank(name: str) -> int:
    """Who made a folder of this name, as far as the name says it."""
    made = _MADE_BY_CATGT.match(name)
    return SPIKEGLX if made is None else {"catgt": CATGT, "supercat": SUPERCAT}[made["kind"]]


def run_base(name: str) -> str:
    """The run's name in that of its folder: "run" of "run_g0", "run_g0_imec1", "catgt_run_g0"."""
    return re.sub(r"_g\d+(_imec\d*)?$", "", _MADE_BY_CATGT.sub("", name, count=1))


@lru_cache(maxsize=4096)
def run_folder(path: Path, stamp: str) -> RunFolder | None:  # noqa: ARG001
    """What a folder holds of which runs; None where it holds none, or can't be read.

    Parameters
    ----------
    path : Path
    stamp : str
        Changes when the folder does; until then, what was read is remembered.
    """
    try:
        triggers, _ = find_triggers(path)
        metas = {probe: _read(several[0]) for probe, several in triggers.items()}
    except OSError:
        return None
    if not metas:
        return None
    commands = " ".join(value for meta in metas.values() for name, value in meta.items() if name.startswith(_COMMAND))
    joined = any(one.trigger == CONCATENATED for several in triggers.values() for one in several)
    made_by = SUPERCAT if "-supercat=" in commands else CATGT if joined or commands else run_rank(path.name)
    sources = [match["folder"] for pattern in (_FOLDER, _ELEMENT) for match in pattern.finditer(commands)]
    return RunFolder(
        path,
        made_by,
        {f"{probe}.ap": _runs(several, metas[probe]) for probe, several in triggers.items()},
        frozenset(meta["fileCreateTime"] for meta in metas.values() if "fileCreateTime" in meta),
        # Paths of the computer on which CatGT ran, often one with Windows.
        frozenset(PureWindowsPath(source).name for source in sources),
    )


def common_streams(one: RunFolder, other: RunFolder) -> frozenset[str]:
    """The streams of a folder whose spikes another one holds as well, made by somebody else of the same run.

    Names of runs come again: of two folders that do not lie together, the time of the run, or the folder from which
    CatGT read it, has to be the same.
    """
    if one.made_by == other.made_by:
        return frozenset()
    earlier, later = sorted((one, other), key=lambda each: each.made_by)
    together = one.path.parent == other.path.parent
    same_time = bool(one.created & other.created)
    if not (together or same_time or earlier.path.parent.name in later.sources):
        return frozenset()
    return frozenset(stream for stream, runs in one.streams.items() if runs & other.streams.get(stream, frozenset()))


def _runs(triggers: list[Trigger], meta: Mapping[str, str]) -> frozenset[str]:
    run, gates = triggers[0].run, {one.gate for one in triggers}
    commands = [value for name, value in meta.items() if name.startswith(_COMMAND)]
    elements = {match["run"] for command in commands for match in _ELEMENT.finditer(command)}
    for command in commands:
        stated = _GATES.search(command)
        if stated is not None and not elements:
            gates |= set(range(int(stated["first"]), int(stated["last"] or stated["first"]) + 1))
    names = {f"{run}_g{gate}" for gate in gates}
    return frozenset(names | {_MADE_BY_CATGT.sub("", element, count=1) for element in elements})


def _read(trigger: Trigger) -> dict[str, str]:
    if "meta" not in trigger.files:
        return {}
    lines = trigger.meta_path.read_text(encoding="utf-8", errors="replace").splitlines()
    return dict(line.lstrip("~").split("=", maxsplit=1) for line in lines if "=" in line)
