"""Requests for another attempt: runs of what failed, and another reading of what could not be read.

The sensor `new_recordings` carries them out at its next tick.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from sort_assets import errors
from sort_assets.config import RecordingConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import ConfigError, MissedSpikesError, MissingRecordingError, SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.arrivals.resolver import RecordingMatch
from sort_assets.platform.automation.status import RecordingStatus
from sort_assets.platform.execution.retried_runs import leave_to_others
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_results import SORTING
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey
from sort_assets.recordings.probe_files import probe_fingerprint

_PREPROCESSED = PIPELINE[0]


@dataclass(frozen=True)
class FailedRecording:
    """A recording with a failure that no success followed.

    Attributes
    ----------
    key : str
    assets : tuple of str
        What is to be made again: the asset that failed and all that follow it; everything when the recording was
        preprocessed with other settings than rules and sidecar have now.
    failure_class, message : str
        What went wrong.
    wanted : bool
        Whether a run was requested already.
    """

    key: str
    assets: tuple[str, ...]
    failure_class: str
    message: str
    wanted: bool


def failed_recordings(roots: Roots, statuses: Iterable[RecordingStatus]) -> list[FailedRecording]:
    """Those of some recordings that failed; while a run is queued or running, a recording has not failed yet."""
    found = []
    rules = RecordingRules(roots)
    for status in statuses:
        if status.is_running:
            continue
        why = _why(status)
        if why is not None:
            asset, failure_class, message = why
            begin = _PREPROCESSED if _recording_changed(roots, rules, status.recording) else asset
            assets = PIPELINE[PIPELINE.index(begin) :]
            found.append(FailedRecording(status.recording, assets, failure_class, message, status.run_wanted))
    return found


def of_class(failed: Iterable[FailedRecording], name: str) -> list[FailedRecording]:
    """Those that failed with an error of a class, or of one derived from it.

    Raises
    ------
    ConfigError
        When there is no such class.
    """
    failed = list(failed)
    wanted = getattr(errors, name, None)
    if not (isinstance(wanted, type) and issubclass(wanted, SortAssetsError)):
        # A class of another library, as a step that fails without one of ours has.
        if any(one.failure_class == name for one in failed):
            return [one for one in failed if one.failure_class == name]
        present = ", ".join(sorted({one.failure_class for one in failed})) or "nothing failed"
        raise ConfigError(
            f"There is no class of failures '{name}'.", remedy=f"Name one of those that `status` shows: {present}."
        )
    return [one for one in failed if _is_a(one.failure_class, wanted)]


def request_retry(instance: dg.DagsterInstance, roots: Roots, failed: FailedRecording) -> None:
    """Request a run of what failed and of what follows it, which Dagster's daemon then does not launch again by itself.

    Raises
    ------
    RecordingError
        As `request_run` does.
    """
    request_run(instance, roots, failed.key, failed.assets, reason=f"retry-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for run in instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: failed.key}), limit=1):
        leave_to_others(instance, run)


def request_run(instance: dg.DagsterInstance, roots: Roots, key: str, assets: tuple[str, ...], *, reason: str) -> None:
    """Request a run of assets of a recording.

    Parameters
    ----------
    instance : dg.DagsterInstance
    roots : Roots
    key : str
        The recording's key.
    assets : tuple of str
        Each after those that it is made from.
    reason : str
        Part of the run's key: the same reason starts no second run.

    Raises
    ------
    RecordingError
        When the recording is not in the catalogue yet, and can't be read.
    """
    catalog = RecordingCatalog(roots.store)
    fingerprint = _fingerprint(catalog, key)
    if fingerprint is None:
        # A partition that was made in the UI, or before there was a catalogue.
        register_recording(instance, roots.recordings / _path(key), roots)
        fingerprint = _fingerprint(catalog, key)
    if not catalog.request_run(key, f"{key}:{fingerprint}:{reason}", assets):
        raise MissingRecordingError(
            f"The recording of '{key}' no longer has this stream.",
            remedy="If the recording was replaced, register the streams that it has now (`sort-assets register`), and "
            "`sort-assets forget` this one; its results stay.",
        )


def unreadable(roots: Roots, named: Iterable[RecordingMatch], *, everything: bool) -> list[str]:
    """Paths of what could not be read or registered: among what was named, or everything.

    A file that was recognized as no recording is included when it is named.
    """
    if everything:
        return [entry.path for entry in RecordingCatalog(roots.store, read_only=True).with_problems() if entry.problems]
    entries = {one.entry.path: one.entry for one in named if one.entry is not None}
    return sorted(path for path, entry in entries.items() if entry.problems or entry.state is State.FOREIGN)


def read_again(roots: Roots, path: str) -> bool:
    """Request that a file or folder is read again although it has not changed; returns whether the catalogue has it."""
    catalog = RecordingCatalog(roots.store)
    with catalog.exclusive():
        entry = catalog.get(path)
        if entry is None or entry.state is State.FORGOTTEN:
            return False
        state = entry.state if entry.state is State.REGISTERED else State.WAITING
        catalog.put(replace(entry, state=state, problem=None, stream_problems={}, read_stamp=None, settings=""))
    return True


def _why(status: RecordingStatus) -> tuple[str, str, str] | None:
    """The first asset that has to be made again, and class and message of the failure; None without a failure."""
    missed = status.results.missed_groups
    found = [(SORTING, MissedSpikesError.__name__, " ".join(missed.values()))] if missed else []
    other = _other_failure(status)
    found = [other, *found] if other is not None else found
    return min(found, key=lambda one: PIPELINE.index(one[0]), default=None)


def _other_failure(status: RecordingStatus) -> tuple[str, str, str] | None:
    """What failed as a whole: the asset, and class and message of the failure."""
    standing = status.results.standing
    if standing is not None:
        return standing.asset, type(standing.error).__name__, standing.error.message
    failure = status.run_failure
    if failure is None:
        return None
    missing = [asset for asset in PIPELINE if not status.assets[asset]]
    asset = failure.step if failure.step in PIPELINE else (missing or [PIPELINE[0]])[0]
    return asset, failure.failure_class, failure.message


def _recording_changed(roots: Roots, rules: RecordingRules, key: str) -> bool:
    """Whether the recording was preprocessed with other settings than rules and sidecar have now.

    True also when only the config of that run differed.
    """
    made = Store(roots.store).summary(key, _PREPROCESSED)
    if made is None or "recording" not in made["config"] or not rules.in_force:
        return False
    try:
        asked = RecordingConfigResolver().resolve(key, rules.settings(key)).config.recording
        if asked.probe_file is not None:
            named = RecordingKey.parse(key)
            now = probe_fingerprint(named.locate(roots.recordings), asked.probe_file, named.stream)
            if made["details"].get("probe_fingerprint") != now:
                return True
    except (SortAssetsError, OSError):  # the run reports what is wrong with them, if it needs them
        return False
    try:
        return RecordingConfig.model_validate(made["config"]["recording"]) != asked
    except ValueError:  # preprocessed by a version of sort_assets with other settings
        return True


def _is_a(name: str, wanted: type[SortAssetsError]) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, wanted)


def _path(key: str) -> str:
    return RecordingKey.parse(key).path


def _fingerprint(catalog: RecordingCatalog, key: str) -> str | None:
    entry = catalog.get(_path(key))
    partitions = [] if entry is None else catalog.partitions([entry.path])
    return entry.fingerprint if entry and any(one.key == key for one in partitions) else None
