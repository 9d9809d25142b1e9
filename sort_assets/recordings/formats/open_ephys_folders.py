"""Where the recordings of an Open Ephys session lie: record nodes, experiments, and the recordings in them.

Only names are looked at. Layout: https://open-ephys.github.io/gui-docs/User-Manual/Recording-data/Binary-format.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

_NODE = re.compile(r"Record[ _]?Node[ _]?(?P<number>\d+)", re.IGNORECASE)
_EXPERIMENT = re.compile(r"experiment(?P<number>\d+)")
_RECORDING = re.compile(r"recording(?P<number>\d+)")
_SETTINGS = re.compile(r"settings(_\d+)?\.xml")
STRUCTURE = "structure.oebin"
"""Describes the streams of one recording."""


@dataclass(frozen=True)
class Place:
    """A folder of one recording, and where in the session it lies."""

    node: str
    experiment: int
    recording: int
    folder: Path
    settings: Path


def may_be_open_ephys_folder(name: str, entries: Set[str]) -> bool:
    """Whether a folder with these entries looks like a session, or like a record node, experiment or recording."""
    if STRUCTURE in entries or any(_NODE.fullmatch(entry) for entry in entries):
        return True
    if _EXPERIMENT.fullmatch(name) and any(_RECORDING.fullmatch(entry) for entry in entries):
        return True
    # Others call folders "experiment1" too: the settings, or the name, make it a record node.
    is_node = _NODE.fullmatch(name) is not None or any(_SETTINGS.fullmatch(entry) for entry in entries)
    return is_node and any(_EXPERIMENT.fullmatch(entry) for entry in entries)


def recording_places(path: Path) -> Iterator[Place]:
    """The recordings below a folder, which may be any level of a session, in their order."""
    nodes = _subfolders(path, _NODE)
    if nodes:
        for number, node in nodes:
            yield from _places_in_node(node, f"node{number}")
    elif _EXPERIMENT.fullmatch(path.name) and _subfolders(path, _RECORDING):
        yield from _places_in_experiment(path, "")
    elif _subfolders(path, _EXPERIMENT):
        yield from _places_in_node(path, "")
    elif (path / STRUCTURE).is_file():
        experiment = _EXPERIMENT.fullmatch(path.parent.name)
        number = int(experiment["number"]) if experiment else 1
        yield Place("", number, 1, path, _settings(path.parents[1], number))


def _places_in_node(node_folder: Path, node: str) -> Iterator[Place]:
    for _, experiment in _subfolders(node_folder, _EXPERIMENT):
        yield from _places_in_experiment(experiment, node)


def _places_in_experiment(experiment: Path, node: str) -> Iterator[Place]:
    match = _EXPERIMENT.fullmatch(experiment.name)
    assert match is not None
    number = int(match["number"])
    for recording, folder in _subfolders(experiment, _RECORDING):
        if (folder / STRUCTURE).is_file() or (folder / "continuous").is_dir():
            yield Place(node, number, recording, folder, _settings(experiment.parent, number))


def _subfolders(folder: Path, name: re.Pattern[str]) -> list[tuple[int, Path]]:
    """Folders of a kind directly in a folder, with their numbers, in order."""
    matches = ((name.fullmatch(entry.name), entry) for entry in folder.iterdir())
    return sorted((int(match["number"]), entry) for match, entry in matches if match is not None and entry.is_dir())


def _settings(node_folder: Path, experiment: int) -> Path:
    return node_folder / ("settings.xml" if experiment == 1 else f"settings_{experiment}.xml")
