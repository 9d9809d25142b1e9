"""What a soak is going to do: the same for the same seed, written down before it begins."""

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ARRIVALS: Mapping[str, int] = {"whole": 20, "slow": 2, "twin": 2, "removed": 1, "broken": 1}
"""How often a recording arrives in each way: at once; written over some seconds, and so seen before it is complete;
with the content of another; removed again while it is processed; unreadable."""
EVERY_S = 15.0
"""Mean time from one fault to the next."""
SPREAD_S = 120.0
"""Least time from one fault that ends everything to the next, so that there is something to end."""


@dataclass(frozen=True)
class FaultKind:
    """A way to disturb the platform.

    Attributes
    ----------
    role : str
        Of the process that is hit, as `processes` names it; or "database", "disk", "node", "controller".
    act : str
        The signal; or connections "cut", "away", "full", "cut off", "slurmd killed".
    weight : int
        How often, relative to the others.
    lasts_s : tuple of float
        Shortest and longest time until it is taken back; zero for what can't be.
    ends_all : bool
        Whether all runs in progress end with it.
    """

    role: str
    act: str
    weight: int
    lasts_s: tuple[float, float] = (0.0, 0.0)
    ends_all: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.act} {self.role}"


LOCAL_FAULTS: tuple[FaultKind, ...] = (
    FaultKind("sorter", "SIGKILL", 6),
    FaultKind("sorter", "SIGTERM", 2),
    FaultKind("sorter", "SIGSTOP", 1, (20.0, 60.0)),
    FaultKind("step", "SIGKILL", 6),
    FaultKind("step", "SIGTERM", 2),
    FaultKind("step", "SIGSTOP", 1, (20.0, 60.0)),
    FaultKind("forkserver", "SIGKILL", 2),
    FaultKind("run worker", "SIGKILL", 3),
    FaultKind("run worker", "SIGTERM", 2),
    FaultKind("run worker", "SIGSTOP", 1, (20.0, 60.0)),
    FaultKind("code server", "SIGKILL", 1),
    FaultKind("code server", "SIGTERM", 1),
    FaultKind("daemon", "SIGKILL", 1),
    FaultKind("daemon", "SIGTERM", 1),
    FaultKind("daemon", "SIGSTOP", 1, (20.0, 60.0)),
    FaultKind("webserver", "SIGKILL", 1),
    FaultKind("up", "SIGKILL", 1, ends_all=True),
    FaultKind("up", "SIGTERM", 1, ends_all=True),
    FaultKind("database", "away", 2, (20.0, 60.0)),
    FaultKind("disk", "full", 1, (20.0, 60.0)),
)
SLURM_FAULTS: tuple[FaultKind, ...] = (
    FaultKind("sorter", "SIGKILL", 4),
    FaultKind("step", "SIGKILL", 4),
    FaultKind("step", "SIGTERM", 1),
    FaultKind("forkserver", "SIGKILL", 1),
    FaultKind("run worker", "SIGKILL", 3),
    FaultKind("run worker", "SIGTERM", 1),
    FaultKind("daemon", "SIGKILL", 1),
    FaultKind("code server", "SIGKILL", 1),
    FaultKind("up", "SIGKILL", 1, ends_all=True),
    FaultKind("up", "SIGTERM", 1, ends_all=True),
    FaultKind("database", "away", 2, (20.0, 60.0)),
    FaultKind("database", "cut", 2),
    FaultKind("node", "cut off", 3, (40.0, 60.0)),
    FaultKind("node", "slurmd killed", 2, (5.0, 60.0)),
    FaultKind("controller", "away", 2, (20.0, 60.0)),
)
CUT = FaultKind("database", "cut", 3)
"""Only a server has connections that can be cut."""


@dataclass(frozen=True)
class Arrival:
    """A recording that is going to arrive.

    Attributes
    ----------
    at_s : float
        Seconds from the beginning of the storm.
    name : str
        Of the file.
    how : str
        One of `ARRIVALS`.
    content : int
        Which part of the synthetic recording it holds.
    """

    at_s: float
    name: str
    how: str
    content: int


@dataclass(frozen=True)
class Fault:
    """A fault that is going to be injected.

    Attributes
    ----------
    at_s : float
        Seconds from the beginning of the storm.
    kind : FaultKind
    lasts_s : float
        After how long it is taken back.
    choice : float
        Which of the processes with that role is hit, from 0 to 1 in the order of their ids.
    """

    at_s: float
    kind: FaultKind
    lasts_s: float
    choice: float


@dataclass(frozen=True)
class Plan:
    """All of it."""

    seed: int
    seconds: float
    arrivals: tuple[Arrival, ...]
    faults: tuple[Fault, ...]

    def write(self, folder: Path) -> None:
        """Write the schedule, to be read beside the table."""
        (folder / "plan.json").write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def make_plan(
    seed: int, seconds: float, recordings: int, kinds: tuple[FaultKind, ...], *, every_s: float = EVERY_S
) -> Plan:
    """Draw arrivals and faults.

    Parameters
    ----------
    seed : int
    seconds : float
        How long the storm lasts.
    recordings : int
    kinds : tuple of FaultKind
    every_s : float
        Mean time from one fault to the next.
    """
    rng = random.Random(seed)
    return Plan(seed, seconds, _arrivals(rng, seconds, recordings), _faults(rng, seconds, kinds, every_s))


def _arrivals(rng: random.Random, seconds: float, recordings: int) -> tuple[Arrival, ...]:
    # The last ones come early enough to be hit as well.
    times = sorted(rng.uniform(0.0, 0.85 * seconds) for _ in range(recordings))
    ways = rng.choices(list(ARRIVALS), list(ARRIVALS.values()), k=recordings)
    arrivals: list[Arrival] = []
    for number, (at_s, way) in enumerate(zip(times, ways, strict=True)):
        how = way if arrivals or way != "twin" else "whole"
        content = rng.choice(arrivals).content if how == "twin" else number
        arrivals.append(Arrival(at_s, f"day{number:03}.{'nwb' if how == 'broken' else 'bin'}", how, content))
    return tuple(arrivals)


def _faults(rng: random.Random, seconds: float, kinds: tuple[FaultKind, ...], every_s: float) -> tuple[Fault, ...]:
    faults, at_s, last_end = [], rng.expovariate(1.0 / every_s), -SPREAD_S
    while at_s < 0.95 * seconds:
        kind = rng.choices(kinds, [one.weight for one in kinds])[0]
        if kind.ends_all and at_s - last_end < SPREAD_S:
            kind = rng.choice([one for one in kinds if not one.ends_all])
        last_end = at_s if kind.ends_all else last_end
        faults.append(Fault(at_s, kind, rng.uniform(*kind.lasts_s), rng.random()))
        at_s += rng.expovariate(1.0 / every_s)
    return tuple(faults)
