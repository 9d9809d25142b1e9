"""How much a look at the recordings root does at most, and what it came to."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import CatalogPartition, State


@dataclass(frozen=True)
class Limits:
    """How much a look does at most.

    Attributes
    ----------
    walk_s : float
        Seconds after which the walk through the folder stops, to go on in the next look.
    read_s : float
        Seconds, from the beginning of the look, after which no further recording is read.
    requests : int
        Runs that a look asks for; Dagster makes about three in a second, within the tick.
    unfinished_runs : int
        Runs of the sensor that wait or run at the same time; so a folder full of old recordings fills no queue, and
        what is still to come can be changed by a rule.
    """

    walk_s: float = 10.0
    read_s: float = 15.0
    requests: int = 25
    unfinished_runs: int = 50


@dataclass
class ScanResult:
    """What a look came to.

    Attributes
    ----------
    tick : int
        Its number.
    requests : list of CatalogPartition
        Runs that are wanted now.
    registered : list of str
        New partitions.
    news : list of str
        What else happened, for people.
    warnings : list of str
        What went wrong, each said once.
    waiting, left : int
        Recordings that are not complete; and complete ones for which there was no time.
    complete_at : list of float
        When those that wait for quiet are complete, if nothing changes; in seconds since 1970.
    finished : bool
        Whether the walk came to the end of the folder.
    """

    tick: int
    requests: list[CatalogPartition] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: int = 0
    left: int = 0
    complete_at: list[float] = field(default_factory=list)
    finished: bool = True


def summary(look: ScanResult, known: RecordingCatalog) -> Iterator[str]:
    """What a look came to, in a few words each."""
    if look.registered:
        yield f"{len(look.registered)} new"
    if look.waiting:
        yield f"{look.waiting} not yet complete"
    if look.left:
        yield f"{look.left} complete, and for the next look"
    if wanted := known.num_pending_runs():
        yield f"{wanted} wait for their run"
    counts = known.counts()
    yield f"{counts.get(State.REGISTERED, 0)} recordings are registered"
    if problems := counts.get(State.PROBLEM, 0):
        yield f"{problems} can't be (`sort-assets status --problems`)"
    if not look.finished:
        yield "the folder was not looked through to its end, which the next look does"
