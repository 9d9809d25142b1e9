"""What killed writers leave in the store: found by their locks, turned into the record of a failure, and removed.

A writer works in ``.staging-<version>`` and holds ``.staging-<version>.lock``, which the kernel releases when it dies.
Whether one lives, everybody decides by `living_writers.writes`.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from sort_assets.errors import (
    HostOutOfMemoryError,
    SortAssetsError,
    SorterCrashedError,
    SorterTimeoutError,
    StepCrashedError,
)
from sort_assets.platform.store.failures import (
    FailedAttempt,
    failed_attempts,
    failure_folder,
    record_failure,
    replace_error,
)
from sort_assets.platform.store.files import entries
from sort_assets.platform.store.layout import FAILURE_NAME, FRESH_LINK, LOCK_SUFFIX, STAGING
from sort_assets.platform.store.living_writers import RunIsOver, is_dead, nobody_knows, writes
from sort_assets.platform.store.locks import Locked, Owner, exclusive_lock, is_locked, read_owner
from sort_assets.running.audit import AUDIT_LOG, HANG_TRACEBACK
from sort_assets.running.job import OUTPUT_FILE

if TYPE_CHECKING:
    from sort_assets.platform.store.store import Store

_EXCERPT_LINES = 30
_EXCERPT_BYTES = 20_000
_AFTER_A_TRIP = "Look at the end of the sorter's log and at the watchdogs' log; the limits are fields of `execution`."
_AFTER_A_HANG = (
    f"Look at {HANG_TRACEBACK} and at the end of the sorter's log. If the recording simply needs longer, raise "
    "execution.sorter_inactivity_base_s or sorter_inactivity_per_min_s. With execution.isolation: process a hung "
    "sorter can be ended without its step."
)
_WITHOUT_A_WORD = (SorterCrashedError, StepCrashedError, HostOutOfMemoryError)
_log = logging.getLogger(__name__)


class _AuditLine(BaseModel):
    """What is read of a line of the watchdogs' log."""

    event: str
    message: str
    numbers: dict[str, Any] = {}


def logs_of_a_sort(staging: Path) -> list[Path]:
    """Logs in a staging folder: of the sorters, of their processes, and of their watchdogs."""
    found = (path for folder in staging.glob("sorter*") for path in folder.rglob("*"))
    return sorted(path for path in found if path.suffix == ".log" or path.name in (AUDIT_LOG, HANG_TRACEBACK))


def living_staging(folder: Path, run_is_over: RunIsOver = nobody_knows) -> bool:
    """Whether somebody writes a version of the asset whose folder this is."""
    return any(writes(_lock_of(path), run_is_over) for path in entries(folder, STAGING))


def leftovers(folder: Path, run_is_over: RunIsOver = nobody_knows) -> list[Path]:
    """Staging folders, locks and links of dead writers in an asset's folder."""
    # A writer makes its lock first and removes it last.
    found = [*entries(folder, STAGING), *entries(folder, FRESH_LINK)]
    return [path for path in found if not writes(_lock_of(path), run_is_over)]


def remove_dead_staging(store: Store, recording: str, asset: str, *, run_id: str | None = None) -> None:
    """Remove what dead writers of an asset left; of a staging folder, its logs stay as a `FailedAttempt`.

    Parameters
    ----------
    run_id : str or None
        The run that is about to write the asset: its own dead attempts were retried.
    """
    folder = store.asset_folder(recording, asset)
    for version in {_version_of(path) for path in leftovers(folder, store.run_is_over)}:
        staging = folder / f"{STAGING}{version}"
        try:
            with exclusive_lock(_lock_of(staging)):
                if is_dead(_lock_of(staging), store.run_is_over):
                    _remove(store, recording, asset, staging, run_id)
        except Locked:
            continue
    if run_id is not None:
        _record_lost_attempts(store, recording, asset, run_id)


def remove_ended_staging(store: Store, recording: str, asset: str, staging: Path, *, run_id: str) -> None:
    """Remove what a writer left whose end an engine has seen, so that nothing else need say that it is dead.

    Parameters
    ----------
    staging : Path
        The writer's staging folder.
    run_id : str
        The run of the writer.
    """
    with contextlib.suppress(Locked), exclusive_lock(_lock_of(staging)):
        _remove(store, recording, asset, staging, run_id)


def _remove(store: Store, recording: str, asset: str, staging: Path, run_id: str | None) -> None:
    lock = _lock_of(staging)
    if staging.is_dir():
        _salvage(store, recording, asset, staging, read_owner(lock), run_id)
        shutil.rmtree(staging, ignore_errors=True)
    staging.with_name(f"{FRESH_LINK}{_version_of(staging)}").unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


def _record_lost_attempts(store: Store, recording: str, asset: str, run_id: str) -> None:
    """Record earlier attempts of a run that are on hosts which can't be reached: they may live, and are not removed."""
    for staging in entries(store.asset_folder(recording, asset), STAGING):
        lock = _lock_of(staging)
        owner = read_owner(lock)
        if owner is not None and owner.run_id == run_id and staging.is_dir() and not is_locked(lock):
            _salvage(store, recording, asset, staging, owner, run_id, remove=False)


def record_out_of_memory(
    store: Store, recording: str, asset: str, *, run_id: str, error: HostOutOfMemoryError, host: str | None = None
) -> FailedAttempt:
    """Record that an engine ended a run's attempt at an asset because it took more memory than it had asked for.

    The next attempt then asks for more (`pipeline.step_requests`), where it would only have learned of a crash, or of
    nothing where the attempt had not got as far as its staging folder.

    Parameters
    ----------
    run_id : str
        The run that the engine ended, or whose step it ended.
    error : HostOutOfMemoryError
        With the memory that the attempt had, where it is known.
    host : str or None
        Where the attempt ran; None where only what it left can tell.

    Returns
    -------
    FailedAttempt
        The record, which takes the place of one that says only that the attempt ended without a word.

    Raises
    ------
    OSError
        When the record can't be written.
    """
    remove_dead_staging(store, recording, asset, run_id=run_id)
    folder, ending, now = store.asset_folder(recording, asset), f"-{run_id[:8]}", datetime.now(UTC)
    recorded = failed_attempts(store, recording, asset, run_id=run_id)
    known, last = {one.version for one in recorded}, recorded[-1] if recorded else None
    # Of a host that can't be reached, and whose locks the file server still keeps.
    unknown = [one for one in entries(folder, STAGING) if one.is_dir() and one.name.endswith(ending)]
    left = max((one for one in unknown if _version_of(one) not in known), default=None)
    if left is None and last is not None and isinstance(last.error, _WITHOUT_A_WORD):
        return replace_error(store, last, error)
    owner = None if left is None else read_owner(_lock_of(left))
    return record_failure(
        store,
        recording,
        asset,
        version=f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}{ending}" if left is None else _version_of(left),
        run_id=run_id,
        attempt=owner.attempt if owner is not None else 1 + (last.attempt if last is not None else 0),
        error=error,
        scaled={},
        logs=() if left is None else logs_of_a_sort(left),
        retried=True,
        host=host,
    )


def _salvage(
    store: Store,
    recording: str,
    asset: str,
    staging: Path,
    owner: Owner | None,
    next_run_id: str | None,
    *,
    remove: bool = True,
) -> None:
    version = _version_of(staging)
    if owner is None or (failure_folder(store, recording, asset, version) / FAILURE_NAME).exists():
        return
    try:
        logs = logs_of_a_sort(staging)
        # Of a folder, the time at which something in it was last made or removed.
        died = max(path.stat().st_mtime for path in (staging, *logs))
        if remove:
            _remove_all_but(logs, staging)
        record_failure(
            store,
            recording,
            asset,
            version=version,
            run_id=owner.run_id,
            attempt=owner.attempt,
            error=_cause_of_death(logs, owner),
            scaled={},
            logs=logs,
            retried=owner.run_id == next_run_id,
            time=datetime.fromtimestamp(died, UTC),
            host=owner.host,
        )
    except OSError as error:
        _log.warning("What is left of a failed attempt in '%s' could not be recorded: %s", staging, error)


def _remove_all_but(logs: list[Path], staging: Path) -> None:
    """Make room for the record: the disk may be full of what the dead writer wrote."""
    for path in staging.rglob("*"):
        if path not in logs and (path.is_symlink() or not path.is_dir()):
            path.unlink(missing_ok=True)


def _cause_of_death(logs: list[Path], owner: Owner) -> SortAssetsError:
    log_excerpt = "\n".join(_last_lines(log) for log in logs if log.name == OUTPUT_FILE)
    trips = [trip for log in logs if log.name == AUDIT_LOG and (trip := _last_trip(log)) is not None]
    if trips:
        # The watchdog's own class, as far as this version knows it.
        return _died(str(trips[0].numbers.get("error")), trips[0].message, _AFTER_A_TRIP, log_excerpt, owner)
    if any(log.name == HANG_TRACEBACK and log.stat().st_size > 0 for log in logs):
        message = "The sorter hung in a call that nothing could interrupt, so that the step's process ended itself."
        return _died(SorterTimeoutError.__name__, message, _AFTER_A_HANG, log_excerpt, owner)
    return _died(
        StepCrashedError.__name__,
        "The step's process was killed or crashed: its staging was left behind.",
        "Look whether the machine ran out of memory or was switched off (`journalctl -k`), or somebody killed "
        f"process {owner.pid} on {owner.host}; then materialize again.",
        log_excerpt,
        owner,
    )


def _died(error_class: str, message: str, remedy: str, log_excerpt: str, owner: Owner) -> SortAssetsError:
    return SortAssetsError.from_dict(
        {
            "classes": [error_class, SorterTimeoutError.__name__],
            "message": message,
            "remedy": remedy,
            "stage": None,
            "log_excerpt": log_excerpt,
            "diagnostics": {"host": owner.host, "pid": owner.pid},
        }
    )


def _last_trip(audit: Path) -> _AuditLine | None:
    """The event with which a watchdog ended the sort; None where none did, or the sort had finished all the same."""
    trip = None
    for line in audit.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = _AuditLine.model_validate_json(line)
        except ValueError:
            continue  # cut off: the writer died, or the disk is full
        if entry.event == "tripped":
            trip = entry
        elif entry.event == "finished":
            trip = None
    return trip


def _last_lines(log: Path) -> str:
    with log.open("rb") as reader:
        reader.seek(max(0, log.stat().st_size - _EXCERPT_BYTES))
        lines = reader.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_EXCERPT_LINES:])


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{STAGING}{_version_of(path)}{LOCK_SUFFIX}")


def _version_of(path: Path) -> str:
    return path.name.removeprefix(STAGING).removeprefix(FRESH_LINK).removesuffix(LOCK_SUFFIX)
