"""Which results are stale, of all recordings at once, by the rule of Dagster's UI.

A result is stale when the code version of its asset has changed, when its asset has other upstream assets, or when the
data version of one of these has changed since. Dagster's tag `dagster/input_data_version` can't tell: for a partitioned
asset that is only observed it always holds the hash of nothing (1.13.27). Like the UI, this compares the event that a
result was made from with the newest one.

Dagster finds the newest event of each partition fast. What a result was made from is in its event, and reading an event
takes 1 ms; each is read once, and kept in a file for the next process.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import dagster as dg

from sort_assets.platform.arrivals.observations import DATA_VERSION_TAG
from sort_assets.platform.automation.stale_results.event_cache import EventCache, ReadEvent
from sort_assets.platform.pipeline.assets import pipeline_assets
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.store.handles import StoredSorting

CODE = "its code"
"""The cause where the asset's own code has changed, in place of an upstream asset."""

_CODE_VERSION_TAG = "dagster/code_version"
_POINTER_TAG = "dagster/input_event_pointer/"
_NO_EVENT = "NULL"
_READ_AT_ONCE = 200
_ABOVE_ALL_EVENTS = 2**62


@dataclass(frozen=True)
class StaleRecording:
    """A recording with stale results.

    Attributes
    ----------
    key : str
    causes : Mapping[str, tuple of str]
        By stale asset, the upstream assets that have changed, or `CODE`; in the order of the pipeline.
    rest : tuple of str
        What has to be made again: the stale assets and all that is made from them.
    state : tuple of str
        Identifies the present results and what they are to be made from: two situations that deserve an attempt each
        differ in it.
    since : float or None
        The time of the newest cause, in seconds since 1970; None where only code is the cause.
    """

    key: str
    causes: Mapping[str, tuple[str, ...]]
    rest: tuple[str, ...]
    state: tuple[str, ...]
    since: float | None


@dataclass
class Staleness:
    """The stale recordings of an instance.

    Attributes
    ----------
    stale : list of StaleRecording
        In the order of the keys.
    unread : int
        Number of recordings that there was no time to read.
    sorted : int
        Number of recordings that have a sorting.
    """

    stale: list[StaleRecording] = field(default_factory=list)
    unread: int = 0
    sorted: int = 0


class StalenessReader:
    """Finds stale results, and remembers the events that it has read.

    Parameters
    ----------
    results : sequence of AssetsDefinition or None
        Each after those that it is made from; None takes the whole pipeline.
    """

    def __init__(self, results: Sequence[dg.AssetsDefinition] | None = None) -> None:
        specs = [spec for result in results or pipeline_assets() for spec in result.specs]
        self._results = {spec.key.to_user_string(): spec for spec in specs}
        self._upstream = {
            name: tuple(sorted(dep.asset_key.to_user_string() for dep in spec.deps))
            for name, spec in self._results.items()
        }
        everything = [*self._results, *(name for names in self._upstream.values() for name in names)]
        self._assets = tuple(dict.fromkeys(everything))
        self._events: dict[str, dict[int, ReadEvent]] = {asset: {} for asset in self._assets}
        self._made_from: dict[tuple[str, str, int], int | None] = {}
        self._is_loaded = False

    def read(
        self,
        instance: dg.DagsterInstance,
        *,
        seconds: float,
        supposed: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> Staleness:
        """Find the stale recordings among all partitions that have a sorting.

        Parameters
        ----------
        instance : DagsterInstance
        seconds : float
            Time after which no further events are read. The next call continues.
        supposed : Mapping[str, Mapping[str, str]]
            By recording and asset, data versions that are taken to be observed now: what would be stale then.
        """
        deadline = time.monotonic() + seconds
        if not self._is_loaded:
            for asset, events in EventCache.of_instance(instance).load(instance).items():
                self._events.setdefault(asset, {}).update(events)
            self._is_loaded = True
        newest = {
            asset: {**instance.get_latest_storage_id_by_partition(dg.AssetKey(asset), self._event_type(asset))}
            for asset in self._assets
        }
        with self._supposing(supposed, newest):
            return self._find(instance, newest, deadline)

    def _find(
        self, instance: dg.DagsterInstance, newest: Mapping[str, Mapping[str, int]], deadline: float
    ) -> Staleness:
        # Those that were sorted last come first, since people work with them.
        made = newest[StoredSorting.asset]
        partitions = made.keys() & instance.get_dynamic_partitions(RECORDINGS_PARTITIONS)
        keys = sorted(partitions, key=lambda key: -made[key])
        found = Staleness(sorted=len(keys))
        for start in range(0, len(keys), _READ_AT_ONCE):
            for asset in self._results:
                some = (newest[asset].get(key) for key in keys[start : start + _READ_AT_ONCE])
                self._read(instance, asset, some, deadline)
        for asset, ids in self._to_compare(instance, newest, keys).items():
            self._read(instance, asset, ids, deadline)
        for key in sorted(keys):
            latest = {asset: newest[asset][key] for asset in self._assets if key in newest[asset]}
            try:
                stale = self._stale(key, latest)
            except _NotReadError:
                found.unread += 1
            else:
                found.stale += [] if stale is None else [stale]
        return found

    @contextmanager
    def _supposing(
        self, supposed: Mapping[str, Mapping[str, str]], newest: Mapping[str, dict[str, int]]
    ) -> Iterator[None]:
        """Meanwhile, each supposed version is that of an event of its own, newer than any that Dagster has."""
        number, now = _ABOVE_ALL_EVENTS, time.time()
        for key, versions in supposed.items():
            for asset in versions.keys() & newest.keys():
                number += 1
                newest[asset][key] = number
                self._events[asset][number] = ReadEvent(now, versions[asset], None, {})
        try:
            yield
        finally:
            for asset in newest:
                for one in [one for one in self._events[asset] if one > _ABOVE_ALL_EVENTS]:
                    del self._events[asset][one]

    def _event_type(self, asset: str) -> dg.DagsterEventType:
        is_result = asset in self._results
        return dg.DagsterEventType.ASSET_MATERIALIZATION if is_result else dg.DagsterEventType.ASSET_OBSERVATION

    def _to_compare(
        self, instance: dg.DagsterInstance, newest: Mapping[str, Mapping[str, int]], keys: Iterable[str]
    ) -> dict[str, list[int]]:
        """The events of upstream assets that are newer than what a result was made from, with what it was made from."""
        events: dict[str, list[int]] = {asset: [] for asset in self._assets}
        for key in keys:
            for asset, upstream in self._upstream.items():
                event = self._events[asset].get(newest[asset].get(key, 0))
                if event is None:
                    continue
                for name in upstream:
                    latest = newest[name].get(key)
                    if latest is None:
                        continue
                    pointer = event.made_from.get(name)
                    if pointer is not None and latest > pointer:
                        read = self._of_partition(instance, name, key, pointer)
                        events[name] += [latest] if read is None else [latest, read]
                    elif name not in event.made_from:
                        events[name].append(latest)
        return events

    def _of_partition(self, instance: dg.DagsterInstance, asset: str, key: str, pointer: int) -> int | None:
        """The event that a result of a partition was made from; None where nothing was known of that partition.

        What Dagster notes of an asset that is only observed is the newest event of any partition (1.13.27).
        """
        what = (asset, key, pointer)
        if what not in self._made_from:
            wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key], before_storage_id=pointer + 1)
            fetch = instance.fetch_materializations if asset in self._results else instance.fetch_observations
            found = fetch(wanted, limit=1).records
            self._made_from[what] = found[0].storage_id if found else None
        return self._made_from[what]

    def _read(self, instance: dg.DagsterInstance, asset: str, ids: Iterable[int | None], deadline: float) -> None:
        events = self._events[asset]
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ is not None and id_ not in events]
        for start in range(0, len(missing), _READ_AT_ONCE):
            if time.monotonic() > deadline:
                return
            some = missing[start : start + _READ_AT_ONCE]
            read = dict(self._fetch(instance, asset, some))
            events.update(dict.fromkeys(some, _GONE) | read)
            EventCache.of_instance(instance).add(asset, read)

    def _fetch(self, instance: dg.DagsterInstance, asset: str, ids: list[int]) -> Iterator[tuple[int, ReadEvent]]:
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), storage_ids=ids)
        fetch = instance.fetch_materializations if asset in self._results else instance.fetch_observations
        for record in fetch(wanted, limit=len(ids)).records:
            event = record.asset_materialization or record.asset_observation
            tags = (event.tags if event else None) or {}
            pointers = {
                name.removeprefix(_POINTER_TAG): None if value == _NO_EVENT else int(value)
                for name, value in tags.items()
                if name.startswith(_POINTER_TAG)
            }
            version, code_version = tags.get(DATA_VERSION_TAG), tags.get(_CODE_VERSION_TAG)
            yield record.storage_id, ReadEvent(record.timestamp, version, code_version, pointers)

    def _stale(self, key: str, latest: Mapping[str, int]) -> StaleRecording | None:
        causes: dict[str, tuple[str, ...]] = {}
        rest: list[str] = []
        times: list[float] = []
        state = [f"{asset}:{spec.code_version}" for asset, spec in self._results.items()]
        for asset, upstream in self._upstream.items():
            found = tuple(self._causes(key, asset, latest))
            if found:
                causes[asset] = found
            if found or any(name in rest for name in upstream):
                rest.append(asset)
            for name in found:
                event = self._events[name].get(latest[name]) if name in latest else None
                if event is not None:
                    times.append(event.time)
                state.append(f"{asset}<{name}" if event is None else f"{asset}<{name}={event.version}")
        if not causes:
            return None
        first = next(iter(causes))
        return StaleRecording(key, causes, tuple(rest), (*state, f"{first}@{latest[first]}"), max(times, default=None))

    def _causes(self, key: str, asset: str, latest: Mapping[str, int]) -> Iterator[str]:
        """Why a result is stale; nothing for a result that was never made, which is missing rather than stale."""
        if asset not in latest:
            return
        event, upstream = self._event(asset, latest), self._upstream[asset]
        if event.code_version is None:  # somebody reported it by hand
            for name in upstream:
                if name in self._results and (name not in latest or self._event(name, latest).time > event.time):
                    yield name
            return
        code_version = self._results[asset].code_version
        if code_version is not None and code_version != event.code_version:
            yield CODE
        yield from sorted(event.made_from.keys() - set(upstream))
        for name in upstream:
            if name not in event.made_from:
                if name in latest:
                    self._event(name, latest)
                yield name
                continue
            pointer, now = event.made_from[name], latest.get(name)
            # Like Dagster, this says nothing of a change since where nothing was observed before.
            if pointer is not None and now is not None and now > pointer:
                read = self._made_from[name, key, pointer]
                before = None if read is None else self._events[name].get(read)
                if read is not None and before is None:
                    raise _NotReadError
                if before is not None and before.version != self._event(name, latest).version:
                    yield name

    def _event(self, asset: str, latest: Mapping[str, int]) -> ReadEvent:
        event = self._events[asset].get(latest[asset])
        if event is None:
            raise _NotReadError
        return event


class _NotReadError(Exception):
    """An event is needed that there was no time to read."""


_GONE = ReadEvent(0.0, None, None, {})
"""Stands for an event that somebody removed."""
