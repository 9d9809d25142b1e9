"""Asks every node of the chosen engine for its report, all at once, so that each tries the locks of the others."""

import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sort_assets.config.settings import (
    CORES_VARIABLE,
    DAGSTER_HOME_VARIABLE,
    LEASES_VARIABLE,
    Roots,
    read_environment,
)
from sort_assets.errors import EngineError, SortAssetsError
from sort_assets.platform.engines import node_report
from sort_assets.platform.engines.told_variables import told_to_nodes
from sort_assets.platform.store.layout import NODE_CHECKS
from sort_assets.platform.store.manifest import package_versions

CONTROL_HOST = "control host"
WAIT_S = 45.0
"""How long a node may take to begin. A queue may be longer; that a node is busy is no fault."""
LIMIT_S = 300.0
"""How long a node may take for its report: importing torch and starting CUDA, from a slow share, takes minutes."""
OWN_OF_EACH_HOST = frozenset({CORES_VARIABLE, LEASES_VARIABLE, DAGSTER_HOME_VARIABLE})
"""Variables that a node is not told for its report."""
_MEET_S = 45.0
_AT_A_TIME = 64
_ENTRIES = 20


@dataclass(frozen=True)
class Node:
    """A node as its engine declares it.

    Attributes
    ----------
    name : str
    cpus, gpus : int
    memory_bytes : int
        0 where the engine does not say.
    out : str
        Why it takes no jobs, in words; empty when it takes some.
    """

    name: str
    cpus: int = 0
    gpus: int = 0
    memory_bytes: int = 0
    out: str = ""


@dataclass(frozen=True)
class Answer:
    """What came back from a node.

    Attributes
    ----------
    node : Node
    report : dict
        As `node_report` prints it; empty when nothing came.
    asked, answered : float
        When, by the clock of this host, in seconds since 1970.
    problem : SortAssetsError or None
        Why there is no report.
    busy : str
        What was not free within the time, in words.
    """

    node: Node
    report: Mapping[str, Any]
    asked: float = 0.0
    answered: float = 0.0
    problem: SortAssetsError | None = None
    busy: str = ""


class NodeBusyError(EngineError):
    """A node had nothing free within the time."""


class NodesOfEngine(Protocol):
    """What starts a program on a node.

    Attributes
    ----------
    variables_at : str
        Where the variables of a node are set, in words.
    """

    variables_at: str

    def nodes(self) -> list[Node]:
        """All nodes on which steps may run."""
        ...

    def ask(self, node: Node, request: str, *, gpu: bool) -> str:
        """Run `node_report` on a node; returns what it printed, also if it did not come to its end.

        Raises
        ------
        NodeBusyError
            When the node has nothing free within `WAIT_S`.
        EngineError
            When the engine refuses it.
        """
        ...


class ThisMachine:
    """The engine `local`: no other nodes."""

    variables_at = "in the .env file"

    def nodes(self) -> list[Node]:
        """None beside the control host, which is asked anyway."""
        return []

    def ask(self, node: Node, request: str, *, gpu: bool) -> str:
        """Run it in a process of this host."""
        # -P: the folder in which the command was given holds no packages.
        command = [sys.executable, "-P", "-c", Path(node_report.__file__).read_text(encoding="utf-8"), request]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                return process.communicate(timeout=LIMIT_S)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                return process.communicate()[0]


def ask_all(engine: NodesOfEngine) -> list[Answer]:
    """The reports of the control host, which is the first, and of every node.

    Raises
    ------
    SortAssetsError
        When the engine does not answer, or this host can't write to the store.
    """
    roots = Roots.from_environment()
    nodes = engine.nodes()
    inquiry = f"{NODE_CHECKS}/{secrets.token_hex(8)}"
    place = roots.store / inquiry
    place.mkdir(parents=True)
    place.chmod(0o777)  # jobs may run as another user
    asked = [node for node in nodes if not node.out]
    peers = [str(number) for number in range(len(asked) + 1)]
    common = {
        "packages": [name for name in package_versions() if name != "python"],
        "folder": inquiry,
        "peers": peers,
        "entries": _entries(roots.recordings),
    }

    def answer(me: str, node: Node, by: NodesOfEngine) -> Answer:
        # The control host is there from the beginning.
        meet_s = _MEET_S + 2 * WAIT_S if by is here else _MEET_S
        defaults = {} if by is here else told_to_nodes(read_environment(), without=OWN_OF_EACH_HOST)
        request = {**common, "me": me, "node": node.name, "meet_s": meet_s, "defaults": defaults}
        try:
            return _ask(by, node, json.dumps(request))
        finally:
            (place / f"{me}.absent").touch()  # nobody need wait for it any more

    here = ThisMachine()
    try:
        with ThreadPoolExecutor(min(_AT_A_TIME, len(peers))) as pool:
            work = [pool.submit(answer, peers[0], Node(CONTROL_HOST), here)]
            work += [pool.submit(answer, me, node, engine) for me, node in zip(peers[1:], asked, strict=True)]
            answers = [one.result() for one in work]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return [*answers, *(Answer(node, {}) for node in nodes if node.out)]


def _ask(engine: NodesOfEngine, node: Node, request: str) -> Answer:
    asked, busy = time.time(), ""
    try:
        try:
            output = engine.ask(node, request, gpu=node.gpus > 0)
        except NodeBusyError:
            if not node.gpus:
                raise
            # Its GPUs may be in use for days; the rest can be asked.
            asked, busy = time.time(), "its GPUs are in use"
            output = engine.ask(node, request, gpu=False)
    except NodeBusyError as error:
        return Answer(node, {}, problem=error, busy=error.message)
    except EngineError as error:
        return Answer(node, {}, problem=error)
    answer = Answer(node, read_report(output), asked, time.time(), busy=busy)
    if answer.report:
        return answer
    said = " ".join(output.split())[-500:]
    problem = EngineError(
        f"The node's Python did not start{f': {said}' if said else '.'}",
        remedy=f"Install sort_assets there as on the control host. What names its Python stands {engine.variables_at}.",
    )
    return replace(answer, problem=problem)


def read_report(output: str) -> dict[str, Any]:
    """The last report in what a node printed; empty when there is none."""
    for line in reversed(output.splitlines()):
        _, mark, text = line.partition(node_report.MARK)
        if mark:
            try:
                return dict(json.loads(text))
            except ValueError:  # cut off
                continue
    return {}


def _entries(recordings: Path) -> Sequence[str]:
    """Some names by which a node recognises the folder."""
    try:
        return sorted(path.name for path in recordings.iterdir())[:_ENTRIES]
    except OSError:
        return []
