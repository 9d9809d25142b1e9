"""One sort per recording at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sort_assets.errors import RecordingBusyError
from sort_assets.platform.store.files import remove_empty
from sort_assets.platform.store.layout import SORT_LOCK
from sort_assets.platform.store.locks import HeldLock, Locked, Owner, exclusive_lock, read_owner
from sort_assets.platform.store.store import Store

_PATIENCE_S = 1.0
_POLL_S = 0.05
_GIVEN_UP_PATIENCE_S = 300.0
"""How long to wait for a sort that nobody waits for any more. One that an engine started elsewhere notices that within
seconds (`remote_steps`); of a host that has died or was cut off, the file server keeps the locks for a lease, 90 s by
default."""
_GIVEN_UP_POLL_S = 1.0


@contextmanager
def sort_lock(
    store: Store,
    recording: str,
    *,
    run_id: str,
    log: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[Path, HeldLock]]:
    """Be the only one who sorts a recording; the kernel ends this when the process dies, however it dies.

    A sort of the same run is an earlier attempt that was given up; it is waited for, as is the sort of a run that is
    over.

    Parameters
    ----------
    store : Store
    recording : str
        The recording's key.
    run_id : str
        The Dagster run that sorts.
    log : callable
        Told once what is waited for.

    Yields
    ------
    dict of Path to HeldLock
        The lock file, for `Store.stage`: whoever publishes the sorting must still hold it.

    Raises
    ------
    RecordingBusyError
        When somebody else is sorting it, or a sort that was given up has not ended within five minutes; says who.
    """
    lock = store.asset_folder(recording, "sorting") / SORT_LOCK
    try:
        with ExitStack() as held:

            def is_given_up(holder: Owner) -> bool:
                return holder.run_id == run_id or store.run_is_over(holder.run_id) is True

            mine = Owner.this_process(run_id).sign(_take(lock, held, recording, is_given_up, log))
            try:
                yield {lock: mine}
            finally:
                # Where the file server dropped the lock, the file may be another's.
                if mine.is_held(lock):
                    lock.unlink(missing_ok=True)
    finally:
        remove_empty([lock.parent, lock.parent.parent])


def _take(
    lock: Path,
    held: ExitStack,
    recording: str,
    is_given_up: Callable[[Owner], bool],
    log: Callable[[str], None],
) -> int:
    began, told = time.monotonic(), False
    while True:
        try:
            return held.enter_context(exclusive_lock(lock, make_folder=True))
        except Locked as locked:
            waited_s = time.monotonic() - began
            # Who looks whether the recording is in use holds the lock for a moment; a new holder signs a moment later.
            if waited_s > _PATIENCE_S:
                holder = read_owner(lock)
                if holder is None or not is_given_up(holder):
                    raise _busy(recording, holder) from locked
                if waited_s > _GIVEN_UP_PATIENCE_S:
                    raise _not_ended(recording, holder) from locked
                if not told:
                    log(
                        f"Waiting for {_described(holder)}, which nobody waits for any more, to let go of '{recording}'"
                        f": up to {_GIVEN_UP_PATIENCE_S / 60:g} minutes."
                    )
                    told = True
        time.sleep(_GIVEN_UP_POLL_S if told else _POLL_S)


def _described(holder: Owner) -> str:
    return f"the sort of run {holder.run_id} (process {holder.pid} on {holder.host})"


def _busy(recording: str, holder: Owner | None) -> RecordingBusyError:
    if holder is None:
        return RecordingBusyError(
            f"'{recording}' is being sorted by somebody else.", remedy="Wait until that has ended, then try again."
        )
    return RecordingBusyError(
        f"'{recording}' is being sorted by run {holder.run_id} (process {holder.pid} on {holder.host}).",
        remedy="Wait until that run has ended, or terminate it, then materialize again.",
        **_diagnostics(holder),
    )


def _not_ended(recording: str, holder: Owner) -> RecordingBusyError:
    return RecordingBusyError(
        f"'{recording}' is still locked by {_described(holder)}, which nobody has waited for since at least "
        f"{_GIVEN_UP_PATIENCE_S / 60:g} minutes.",
        remedy=f"End process {holder.pid} on {holder.host}; if that host can't be reached, restart it. Then "
        "materialize again.",
        **_diagnostics(holder),
    )


def _diagnostics(holder: Owner) -> dict[str, Any]:
    return {"host": holder.host, "pid": holder.pid, "run_id": holder.run_id}
