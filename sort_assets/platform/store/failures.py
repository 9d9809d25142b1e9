"""The memory of failures: what each failed attempt of a step was, for the next attempt and for the morning after.

``<store>/<recording>/<asset>/failed/<version>/`` holds ``failure.json``, written last, and copies of the logs in
``logs/``. A folder without its ``failure.json`` is not a record.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, field_validator

from sort_assets.errors import SortAssetsError
from sort_assets.platform.store.files import entries, write_atomically
from sort_assets.platform.store.layout import FAILED, FAILURE_NAME, LOGS

if TYPE_CHECKING:
    from sort_assets.platform.store.store import Store

RECORDS_KEPT = 10
MAX_LOG_BYTES = 20_000_000

_log = logging.getLogger(__name__)


class FailedAttempt(BaseModel):
    """One attempt of a step that did not end in an artefact.

    Attributes
    ----------
    recording, asset : str
        What was to be made.
    version : str
        The store's name for what was to become a version; it begins with the time at which the attempt started.
    run_id : str
        The Dagster run; empty when the attempt died before it could say.
    attempt : int
        Which attempt of the step it was; the first is 1.
    time : datetime
        When it failed, in UTC; of a process that was killed, when it last wrote.
    host : str
        Where it ran.
    failure : dict
        The classified error, as `SortAssetsError.to_dict` gives it.
    scaled : dict
        Parameters that the attempt ran with in place of the configured ones; unknown, so empty, where the process was
        killed.
    retried : bool
        Whether another attempt was to follow.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    recording: str
    asset: str
    version: str
    run_id: str
    attempt: int
    time: AwareDatetime
    host: str
    failure: dict[str, Any]
    scaled: dict[str, Any]
    retried: bool

    @field_validator("failure")
    @classmethod
    def _describes_an_error(cls, failure: dict[str, Any]) -> dict[str, Any]:
        try:
            SortAssetsError.from_dict(failure)
        except (KeyError, TypeError, StopIteration) as error:
            raise ValueError(f"no classified error: {error!r}") from error
        return failure

    @property
    def error(self) -> SortAssetsError:
        """The classified error, made again."""
        return SortAssetsError.from_dict(self.failure)


def failure_folder(store: Store, recording: str, asset: str, version: str) -> Path:
    """Where the record of a failed attempt is, and whatever else is kept of it."""
    return store.asset_folder(recording, asset) / FAILED / version


def record_failure(
    store: Store,
    recording: str,
    asset: str,
    *,
    version: str,
    run_id: str,
    attempt: int,
    error: SortAssetsError,
    scaled: Mapping[str, Any],
    logs: Iterable[Path],
    retried: bool,
    time: datetime | None = None,
    host: str | None = None,
) -> FailedAttempt:
    """Keep what is known of a failed attempt, and forget the oldest ones of the same asset.

    Call it while the attempt's staging is still there: `gc` takes a record without its ``failure.json`` for remains
    once nobody writes.

    Parameters
    ----------
    version : str
        The version that was being written, `Staging.version`.
    attempt : int
        The first is 1.
    scaled : Mapping[str, Any]
        Parameters that ran in place of the configured ones.
    logs : Iterable[Path]
        Copied, with the folders that tell them apart; of a file larger than `MAX_LOG_BYTES` its last part. Those that
        are missing are left out.
    retried : bool
        Whether another attempt follows.
    time, host
        When and where it failed; None is now and here.

    Raises
    ------
    OSError
        When the record can't be written. A log that can't be copied, to a full disk for example, only warns.
    """
    record = FailedAttempt(
        recording=recording,
        asset=asset,
        version=version,
        run_id=run_id,
        attempt=attempt,
        time=time or datetime.now(UTC),
        host=host or socket.gethostname(),
        failure=error.to_dict(),
        scaled=json.loads(json.dumps(dict(scaled), default=str)),
        retried=retried,
    )
    folder = failure_folder(store, recording, asset, version)
    folder.mkdir(parents=True, exist_ok=True)
    _copy_logs([log for log in logs if log.is_file() and not log.is_symlink()], folder / LOGS)
    write_atomically(folder / FAILURE_NAME, record.model_dump_json(indent=1))
    for old in surplus_failures(store, recording, asset):
        forget_failure(old)
    return record


def failed_attempts(store: Store, recording: str, asset: str, *, run_id: str | None = None) -> list[FailedAttempt]:
    """The failed attempts of an asset, or those of one run, oldest first.

    A record that can't be read is left out with a warning.
    """
    found = [record for _, record in _records(store, recording, asset) if run_id in (None, record.run_id)]
    # Within a run the count of attempts is right even where the clock was not.
    return sorted(found, key=lambda record: (record.attempt if run_id else 0, record.version))


def failures_to_learn_from(
    store: Store, recording: str, asset: str, *, run_id: str, runs_before: Sequence[str]
) -> list[FailedAttempt]:
    """What an attempt should know: the failed attempts of its run, and of those that it is the retry of, oldest first.

    Parameters
    ----------
    store, recording, asset
    run_id : str
    runs_before : sequence of str
        Of which the run is the automatic retry, oldest first. What was made good in them counts no more.
    """
    before = [one for run in runs_before for one in failed_attempts(store, recording, asset, run_id=run)]
    own = failed_attempts(store, recording, asset, run_id=run_id)
    return [*(one for one in before if not was_made_good(store, one)), *own]


def replace_error(store: Store, record: FailedAttempt, error: SortAssetsError) -> FailedAttempt:
    """Correct what a failed attempt died of, where somebody else knows better; its log excerpt stays.

    Raises
    ------
    OSError
        When the record can't be written.
    """
    error.log_excerpt = error.log_excerpt or record.error.log_excerpt
    corrected = record.model_copy(update={"failure": error.to_dict()})
    folder = failure_folder(store, record.recording, record.asset, record.version)
    write_atomically(folder / FAILURE_NAME, corrected.model_dump_json(indent=1))
    return corrected


def was_made_good(store: Store, failed: FailedAttempt) -> bool:
    """Whether a success of the same asset followed: of the same run, which ends with its success, or begun later."""
    current = store.summary(failed.recording, failed.asset)
    if not isinstance(current, dict):
        return False
    return current.get("run_id") == failed.run_id or str(current.get("version", "")) > failed.version


def surplus_failures(store: Store, recording: str, asset: str) -> list[Path]:
    """Folders of the records that retention does not keep: beyond the newest `RECORDS_KEPT`, oldest first.

    All records of the run that failed last are kept: its next attempt counts them.
    """
    records = sorted(_records(store, recording, asset), key=lambda found: found[1].version)
    older = records[:-RECORDS_KEPT]
    return [folder for folder, record in older if record.run_id != records[-1][1].run_id]


def forget_failure(folder: Path) -> None:
    """Remove the record of a failed attempt, with its logs and its working folder.

    Raises
    ------
    OSError
        When something can't be removed.
    """
    # Without this file the rest is no record any more, wherever the removal may be interrupted.
    (folder / FAILURE_NAME).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _records(store: Store, recording: str, asset: str) -> list[tuple[Path, FailedAttempt]]:
    found = []
    for folder in entries(store.asset_folder(recording, asset) / FAILED):
        path = folder / FAILURE_NAME
        try:
            found.append((folder, FailedAttempt.model_validate_json(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            continue  # not yet written, or forgotten
        except (OSError, ValueError) as error:
            _log.warning("The record of a failed attempt '%s' can't be read: %s", path, error)
    return found


def _copy_logs(logs: list[Path], folder: Path) -> None:
    if not logs:
        return
    base = Path(os.path.commonpath([log.parent for log in logs]))
    for log in logs:
        target = folder / log.relative_to(base)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_end(log, target)
        except OSError as error:
            if target.exists():
                target.unlink()
            _log.warning("'%s' could not be kept with the record of its failure: %s", log, error)


def _copy_end(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        cut = reader.seek(0, os.SEEK_END) - MAX_LOG_BYTES
        if cut > 0:
            writer.write(f"[sort_assets left out the first {cut} bytes]\n".encode())
        reader.seek(max(cut, 0))
        shutil.copyfileobj(reader, writer)
