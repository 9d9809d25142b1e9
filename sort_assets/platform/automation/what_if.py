"""What an edit of the rules file would change: which recordings' settings, which results become stale, and the cost.

Nothing is decided here: settings are resolved, and turned into data versions, as they are when the sensor
`new_recordings` observes them, and what is stale then is what the sensor `stale_recordings` would find.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from sort_assets.config.rules import RecordingSettings
from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.forecasts.history import CostHistory
from sort_assets.forecasts.totals import PlannedRecording
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.observations import SETTINGS_METADATA, Observed, observe_settings
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.automation.backlog import plan_recordings
from sort_assets.platform.automation.stale_results.requests import has_nothing_to_sort, obstacle, to_make_again
from sort_assets.platform.automation.stale_results.staleness import StalenessReader, StaleRecording
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey

Change = tuple[Any, Any]
"""A setting before and after; None is its default."""


@dataclass(frozen=True)
class EditedRecording:
    """A recording whose settings an edit of the rules changes.

    Attributes
    ----------
    recording : str
        Its key.
    changes : Mapping[str, tuple]
        By setting, such as "sorter.params.Th_universal", its value before and after; None is the default.
    stale : tuple of str
        The results that become stale by it, in the order of the pipeline; empty for what is not sorted yet, or would
        be stale anyway.
    made_again : tuple of str
        The same, with whatever they are made from that the store no longer has.
    obstacle : str or None
        Why none of it would be made again by itself.
    """

    recording: str
    changes: Mapping[str, Change]
    stale: tuple[str, ...] = ()
    made_again: tuple[str, ...] = ()
    obstacle: str | None = None


@dataclass
class RulesEdit:
    """What an edit of the rules would change.

    Attributes
    ----------
    recordings : int
        Number of registered recordings that were asked about.
    edited : list of EditedRecording
        Those whose settings change, in the order of their keys.
    invalid : dict
        By recording whose settings can be resolved now and can't be then, why.
    ignored, taken, arranged : list of str
        Recordings that are ignored from then on, whose results stay; paths that are ignored now and would be no more;
        and recordings of which other streams would be taken, or whose files would be put together otherwise. A scan
        finds out what becomes of the last two.
    stale_anyway : int
        Number of recordings with results that are stale under the present rules.
    fresh : list of str
        Recordings with stale results under the present rules, and none under the new ones.
    planned : list of PlannedRecording
        What would be made again because of the edit.
    """

    recordings: int = 0
    edited: list[EditedRecording] = field(default_factory=list)
    invalid: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    arranged: list[str] = field(default_factory=list)
    stale_anyway: int = 0
    fresh: list[str] = field(default_factory=list)
    planned: list[PlannedRecording] = field(default_factory=list)

    @property
    def stale(self) -> list[EditedRecording]:
        """Those of which results become stale."""
        return [one for one in self.edited if one.stale]


def find_rules_edit(
    instance: dg.DagsterInstance,
    roots: Roots,
    history: CostHistory,
    present: RecordingRules,
    edited: RecordingRules,
    *,
    device: str | None = None,
    on_progress: Callable[[str], object] = str,
) -> RulesEdit:
    """Find what other rules would change for the recordings that are registered.

    Parameters
    ----------
    instance, roots, history
    present : RecordingRules
        Those in force.
    edited : RecordingRules
        Those to come.
    device : str or None
        The GPU to sort on.
    on_progress : callable
        Called with a sentence about how far it has come.

    Raises
    ------
    StorageError
        When the recording catalogue can't be read.
    """
    catalog = RecordingCatalog(roots.store, read_only=True)
    entries, partitions = catalog.all(), {one.key: one for one in catalog.partitions()}
    found, versions = RulesEdit(), (dict[str, Mapping[str, str]](), dict[str, Mapping[str, str]]())
    changes: dict[str, Mapping[str, Change]] = {}
    registered = [*_registered(entries, partitions)]
    on_progress(f"Resolving the settings of {len(registered)} recordings")
    for key in registered:
        found.recordings += 1
        before, after = _seen(roots, present, key), _seen(roots, edited, key)
        if isinstance(after, SortAssetsError):
            if not isinstance(before, SortAssetsError):
                found.invalid[key] = str(after)
            continue
        if after.settings.ignore:
            found.ignored.append(key)
            continue
        if not isinstance(before, SortAssetsError):
            versions[0][key] = before.versions
            if before.arrangement != after.arrangement:
                found.arranged.append(key)
        versions[1][key] = after.versions
        different = _changes({} if isinstance(before, SortAssetsError) else before.content, after.content)
        if different:
            changes[key] = different
    found.taken = sorted(
        path for path, entry in entries.items() if entry.state is State.IGNORED and not _ignores(edited, path)
    )
    on_progress("Looking for results that become stale")
    reader = StalenessReader()
    stale_now, stale_then = (
        {one.key: one for one in reader.read(instance, seconds=math.inf, supposed=supposed).stale}
        for supposed in versions
    )
    found.stale_anyway = len(stale_now)
    found.fresh = sorted(stale_now.keys() - stale_then.keys() - set(found.ignored))
    store = Store(roots.store)
    for key in sorted(changes):
        entry, partition = entries.get(partitions[key].path), partitions[key]
        found.edited.append(
            _edited(store, key, changes[key], stale_now.get(key), stale_then.get(key), obstacle(partition, entry))
        )
    by_assets: dict[tuple[str, ...], list[str]] = {}
    for one in found.edited:
        if one.made_again and one.obstacle is None:
            by_assets.setdefault(one.made_again, []).append(one.recording)
    for assets, keys in by_assets.items():
        planned, _ = plan_recordings(instance, roots, history, keys, assets, device=device, rules=edited)
        found.planned += planned
    return found


@dataclass(frozen=True)
class _Seen:
    """What rules say of a recording, as it is observed."""

    settings: RecordingSettings
    observed: Mapping[str, Observed]

    @property
    def versions(self) -> dict[str, str]:
        return {asset: one.version for asset, one in self.observed.items()}

    @property
    def content(self) -> dict[str, Any]:
        """What differs from the defaults, by setting."""
        return {
            name: value
            for one in self.observed.values()
            for name, value in _flat(one.metadata[SETTINGS_METADATA].value)
        }

    @property
    def arrangement(self) -> tuple[Any, ...]:
        return self.settings.streams, self.settings.concatenate


def _seen(roots: Roots, rules: RecordingRules, recording: str) -> _Seen | SortAssetsError:
    key = RecordingKey.parse(recording)
    try:
        settings = rules.settings(recording)
        return _Seen(settings, observe_settings(key, key.locate(roots.recordings), settings))
    except SortAssetsError as error:
        return error


def _registered(entries: Mapping[str, CatalogEntry], partitions: Mapping[str, CatalogPartition]) -> Iterator[str]:
    """The recordings whose settings a scan observes."""
    for key in sorted(partitions):
        entry = entries.get(partitions[key].path)
        is_registered = entry is not None and entry.state is State.REGISTERED and entry.missing_since is None
        if is_registered and not partitions[key].forgotten:
            yield key


def _ignores(rules: RecordingRules, path: str) -> bool:
    try:
        return rules.settings(str(RecordingKey(path))).ignore
    except SortAssetsError:
        return True


def _edited(
    store: Store,
    key: str,
    changes: Mapping[str, Change],
    now: StaleRecording | None,
    then: StaleRecording | None,
    obstacle_known: str | None,
) -> EditedRecording:
    if then is None:
        return EditedRecording(key, changes)
    anyway = set() if now is None else {*to_make_again(store, now)}
    stale = tuple(asset for asset in then.rest if now is None or asset not in now.rest)
    made_again = tuple(asset for asset in to_make_again(store, then) if asset not in anyway) if stale else ()
    if obstacle_known is None and has_nothing_to_sort(store, then):
        obstacle_known = "nothing to sort in it"
    return EditedRecording(key, changes, _in_order(stale), made_again, obstacle_known)


def _in_order(assets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(assets, key=PIPELINE.index))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    return {
        name: (before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    }


def _flat(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by their dotted names."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", inner
