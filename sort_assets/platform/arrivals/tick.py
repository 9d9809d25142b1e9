"""How much a tick of the sensor may do, and what came of a scan."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sort_assets.platform.arrivals.catalog_entry import CatalogPartition, State
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog


@dataclass(frozen=True)
class Limits:
    """How much a scan does at most.

    Attributes
    ----------
    walk_s : float
        Seconds after which the walk through the folder stops; the next tick continues it.
    read_s : float
        Seconds, from the beginning of the scan, after which no further recording is read.
    requests : int
        Run requests of a tick; Dagster makes about three runs in a second, within the tick.
    unfinished_runs : int
        Runs of the sensor that are queued or at work at the same time. A folder full of old recordings does not fill
        the queue, and a rule can still change what has not been requested.
    """

    walk_s: float = 10.0
    read_s: float = 15.0
    requests: int = 25
    unfinished_runs: int = 50


@dataclass
class ScanResult:
    """What came of a scan.

    Attributes
    ----------
    tick : int
        Its number; 0 when it is not one of the sensor.
    requests : list of CatalogPartition
        Runs that are requested now.
    registered : list of str
        Keys of new partitions.
    changes : list of str
        What else happened, in sentences.
    warnings : list of str
        What went wrong, in sentences; each problem is reported once.
    waiting : int
        Recordings that are not complete.
    unread : int
        Complete recordings for which there was no time.
    complete_at : list of float
        When those that wait for quiet are complete if nothing changes until then, in seconds since 1970.
    finished : bool
        Whether the walk reached the end of the folder.
    """

    tick: int
    requests: list[CatalogPartition] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: int = 0
    unread: int = 0
    complete_at: list[float] = field(default_factory=list)
    finished: bool = False


def summarize(result: ScanResult, catalog: RecordingCatalog) -> Iterator[str]:
    """What came of a scan and what the catalogue holds, in a few words each."""
    if result.registered:
        yield f"{len(result.registered)} new"
    if result.waiting:
        yield f"{result.waiting} not yet complete"
    if result.unread:
        yield f"{result.unread} complete and left to the next tick"
    if pending := catalog.num_pending_runs():
        yield f"{pending} waiting for a run"
    counts = catalog.counts()
    yield f"{counts.get(State.REGISTERED, 0)} recordings registered"
    if problems := counts.get(State.PROBLEM, 0):
        yield f"{problems} with problems (`sort-assets status --problems`)"
    if streams := catalog.num_stream_problems():
        yield f"{streams} streams with problems, beside others that are registered (`sort-assets status --problems`)"
    if not result.finished:
        yield "the rest of the folder left to the next tick"
