"""What arrives, waits or is refused below the recordings root: read from the catalogue when that has changed."""

import time
from collections.abc import Iterator

import dagster as dg

from sort_assets.config.rules import find_sidecar
from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.sensor import launch_problem, scan_problem
from sort_assets.platform.console.news import News, format_seconds
from sort_assets.platform.pipeline.recording_rules import RULES_PROBLEM, RecordingRules
from sort_assets.recordings.key import RecordingKey

_WRITTEN_LATER_S = 120.0
"""How much later than its time an entry may be written: a scan writes what it has found at its end."""
_SCANS_EVERY_S = 30.0
_DAEMON_STARTS_S = 60.0
"""How long after the start the daemon may have no heartbeat yet."""
_WAITING = "not complete yet"


class ArrivalNews:
    """Follows the recording catalogue.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    """

    def __init__(self, instance: dg.DagsterInstance, roots: Roots) -> None:
        self._instance, self._roots = instance, roots
        self._catalog = RecordingCatalog(roots.store, read_only=True)
        self._began = time.time()
        self._stamp: object = None
        self._read_at, self._asked_at = self._began, 0.0
        self._registered = set(self._catalog.registered_paths())
        self._said: dict[str, str] = {}

    def summary(self) -> str:
        """How many recordings there are, in a line."""
        counts = self._catalog.counts()
        found = [f"{counts.get(State.REGISTERED, 0)} registered"]
        if waiting := counts.get(State.WAITING, 0):
            found.append(f"{waiting} {_WAITING}")
        if problems := counts.get(State.PROBLEM, 0):
            found.append(f"{problems} refused (`sort-assets status --problems` says why)")
        return f"Recordings below {self._roots.recordings}: {', '.join(found)}"

    def read(self) -> list[News]:
        """What has happened since the last call, or since this object was made."""
        news = [*self._scan_news()]
        stamp = self._stamp_of_catalog()
        if stamp == self._stamp:
            return news
        now = time.time()
        since = max(self._began, self._read_at - _WRITTEN_LATER_S)
        for entry in self._catalog.seen_since(since):
            news += self._of_entry(entry)
        news += self._once("sort_assets.yaml", self._catalog.note(RULES_PROBLEM) or "", "The rules are valid again.")
        self._stamp, self._read_at = stamp, now
        return news

    def _stamp_of_catalog(self) -> object:
        """Changes with each transaction that any process writes."""
        found = []
        for file in (self._catalog.file, self._catalog.file.with_name(f"{self._catalog.file.name}-wal")):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return found

    def _scan_news(self) -> Iterator[News]:
        """Why nobody looks for recordings: the sensor is stopped, say, or the folder's disk is not mounted."""
        if time.monotonic() - self._asked_at >= _SCANS_EVERY_S:
            self._asked_at = time.monotonic()
            begins = time.time() - self._began < _DAEMON_STARTS_S
            problem = (None if begins else launch_problem(self._instance)) or scan_problem(self._instance) or ""
            yield from self._once("recordings", problem, "They are looked for again.")

    def _once(self, what: str, problem: str, over: str) -> Iterator[News]:
        """A problem when it begins, and that it has passed."""
        before = self._said.get(what, "")
        self._said[what] = problem
        if problem != before and (problem or over):
            yield News(what, problem or over)

    def _of_entry(self, entry: CatalogEntry) -> Iterator[News]:
        for stream, problem in entry.stream_problems.items():
            yield from self._new(str(RecordingKey(entry.path, stream)), _refused(problem, "not registered"))
        if entry.missing_since is not None:
            yield from self._new(entry.path, ("is no longer there; its results are kept",) * 2)
        elif entry.problem is not None:
            what = "not registered" if entry.state is State.PROBLEM else "has a problem"
            yield from self._new(entry.path, _refused(entry.problem, what))
        elif entry.state is State.WAITING:
            if entry.path not in self._said:
                yield from self._new(
                    entry.path, (f"arrived, {_WAITING}: {self._why_it_waits(entry)}", f"arrived, {_WAITING}")
                )
        elif entry.state is State.REGISTERED:
            yield from self._registered_now(entry)

    def _registered_now(self, entry: CatalogEntry) -> Iterator[News]:
        if entry.path not in self._registered:
            self._registered.add(entry.path)
            partitions = self._catalog.partitions([entry.path])
            keys = [one.key for one in partitions if not one.forgotten]
            clock = next((f". {one.clock}" for one in partitions if one.clock is not None), "")
            streams = "" if len(keys) == 1 else f" with {len(keys)} streams, each sorted on its own"
            arrived = "" if entry.path in self._said else "arrived, "
            yield from self._new(entry.path, (f"{arrived}complete{streams}{clock}", f"{arrived}complete"))
        elif entry.changed_at is not None and entry.changed_at >= self._began:
            yield from self._new(entry.path, ("has changed; what was made of it is stale",) * 2, at=entry.changed_at)

    def _new(self, name: str, said: tuple[str, str], *, at: float = 0.0) -> Iterator[News]:
        text, kind = said
        if self._said.get(name) != f"{text}{at}":
            self._said[name] = f"{text}{at}"
            yield News(name, text, kind)

    def _why_it_waits(self, entry: CatalogEntry) -> str:
        """What a recording waits for that is not complete, in a phrase."""
        path = self._roots.recordings / entry.path
        try:
            settings = RecordingRules(self._roots).settings_of(entry.path, find_sidecar(path, self._roots.recordings))
        except (SortAssetsError, OSError):
            return "`sort-assets scan --dry-run` says what it waits for"
        if settings.arrival.marker is not None:
            return f"it waits for its marker '{settings.arrival.marker}'"
        quiet = format_seconds(settings.arrival.quiet_s)
        return f"it is read when nothing in it has changed for {quiet} and none of its files is a partial copy"


def _refused(problem: SortAssetsError, what: str) -> tuple[str, str]:
    failure = type(problem).__name__
    return f"{what}: {failure}: {problem.message} Remedy: {problem.remedy}", f"{what}: {failure}"
