"""Asking for another attempt: runs of what failed, and another look at what could not be read."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from sort_assets import errors
from sort_assets.config import RecordingConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import ConfigError, MissingRecordingError, SortAssetsError
from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.arrivals.resolver import RecordingMatch
from sort_assets.platform.automation.failed_runs import failures_of_run
from sort_assets.platform.automation.status import RecordingStatus
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey
from sort_assets.recordings.probe_files import probe_fingerprint

_PREPROCESSED = PIPELINE[0]


@dataclass(frozen=True)
class Failed:
    """A recording of which something failed, and no success followed.

    Attributes
    ----------
    key : str
    assets : tuple of str
        What is to be made again: what failed, and all that comes after it; everything when rules or sidecar now ask for
        another recording, filtered in another way, than was preprocessed.
    failure_class, message : str
        Why.
    wanted : bool
        Whether a run is wanted already.
    """

    key: str
    assets: tuple[str, ...]
    failure_class: str
    message: str
    wanted: bool


def failed_recordings(instance: dg.DagsterInstance, roots: Roots, statuses: Iterable[RecordingStatus]) -> list[Failed]:
    """What failed, of these recordings. One at which a run is at work or waits has not failed yet."""
    found = []
    rules = RecordingRules(roots)
    for status in statuses:
        if status.is_running:
            continue
        why = _why(instance, status)
        if why is not None:
            asset, failure_class, message = why
            begin = _PREPROCESSED if _recording_changed(roots, rules, status.recording) else asset
            assets = PIPELINE[PIPELINE.index(begin) :]
            found.append(Failed(status.recording, assets, failure_class, message, status.run_wanted))
    return found


def of_class(failed: Iterable[Failed], name: str) -> list[Failed]:
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


def want_again(instance: dg.DagsterInstance, roots: Roots, failed: Failed) -> None:
    """Have the sensor's next look start a run of what failed and what comes after it.

    Raises
    ------
    RecordingError
        As `want` does.
    """
    want(instance, roots, failed.key, failed.assets, why=f"retry-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")


def want(instance: dg.DagsterInstance, roots: Roots, key: str, assets: tuple[str, ...], *, why: str) -> None:
    """Have the sensor's next look start a run of assets of a recording.

    Parameters
    ----------
    instance : dg.DagsterInstance
    roots : Roots
    key : str
        The recording's key.
    assets : tuple of str
        Each after those that it is made from.
    why : str
        Ends the run's key: the same words start no second run.

    Raises
    ------
    RecordingError
        When nothing is known of the recording yet, and it can't be read.
    """
    known = RecordingCatalog(roots.store)
    fingerprint = _fingerprint(known, key)
    if fingerprint is None:
        # A partition that was made when nobody kept a list, or in the UI.
        register_recording(instance, roots.recordings / _path(key), roots)
        fingerprint = _fingerprint(known, key)
    if not known.request_run(key, f"{key}:{fingerprint}:{why}", assets):
        raise MissingRecordingError(
            f"'{key}' is none of the streams that its recording has now.",
            remedy="See which there are with `sort-assets status`, or launch the run in the UI.",
        )


def unreadable(roots: Roots, named: Iterable[RecordingMatch], *, everything: bool) -> list[str]:
    """Paths of what could not be read or registered: of what was named, or everything.

    What was taken for no recording is among them when it is named.
    """
    if everything:
        return [
            row.path for row in RecordingCatalog(roots.store, read_only=True).with_problems() if row.problem is not None
        ]
    rows = {one.known.path: one.known for one in named if one.known is not None}
    return sorted(path for path, row in rows.items() if row.problem is not None or row.state is State.FOREIGN)


def read_again(roots: Roots, path: str) -> bool:
    """Have the sensor's next look read a candidate again, although it has not changed; returns whether it is known."""
    known = RecordingCatalog(roots.store)
    with known.exclusive():
        row = known.get(path)
        if row is None or row.state is State.FORGOTTEN:
            return False
        state = row.state if row.state is State.REGISTERED else State.WAITING
        known.put(replace(row, state=state, problem=None, read_stamp=None, settings=""))
    return True


def _why(instance: dg.DagsterInstance, status: RecordingStatus) -> tuple[str, str, str] | None:
    """The first asset that has to be made again, and class and message of what went wrong; None when nothing did."""
    standing, run = status.results.standing, status.last_run
    if standing is not None:
        return standing.asset, type(standing.error).__name__, standing.error.message
    if run is None or not status.last_run_failed:
        return None
    # It failed before any of its steps could keep a record in the store, or outside of them.
    first, *_ = failures = failures_of_run(instance, run)
    steps = [one for one in failures if one.step in PIPELINE]
    if steps:
        first = min(steps, key=lambda one: PIPELINE.index(one.step))
        return first.step, first.failure_class, first.message
    missing = [asset for asset in PIPELINE if not status.assets[asset]]
    return (missing or [PIPELINE[0]])[0], first.failure_class, first.message


def _recording_changed(roots: Roots, rules: RecordingRules, key: str) -> bool:
    """Whether a run that began after `preprocessed_recording` would leave unheeded what is now said of the recording.

    True as well when only a run's own config made it otherwise.
    """
    made = Store(roots.store).summary(key, _PREPROCESSED)
    if made is None or "recording" not in made["config"] or not rules.in_force:
        return False
    try:
        asked = RecordingConfigResolver().resolve(key, rules.settings(key)).config.recording
        if asked.probe_file is not None:
            now = probe_fingerprint(RecordingKey.parse(key).locate(roots.recordings), asked.probe_file)
            if made["details"].get("probe_fingerprint") != now:
                return True
    except (SortAssetsError, OSError):  # what is wrong with them the run says itself, if it needs them
        return False
    try:
        return RecordingConfig.model_validate(made["config"]["recording"]) != asked
    except ValueError:  # preprocessed by a version of ours that knew other settings
        return True


def _is_a(name: str, wanted: type[SortAssetsError]) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, wanted)


def _path(key: str) -> str:
    return RecordingKey.parse(key).path


def _fingerprint(known: RecordingCatalog, key: str) -> str | None:
    row = known.get(_path(key))
    partitions = [] if row is None else known.partitions([row.path])
    return row.fingerprint if row and any(one.key == key for one in partitions) else None
