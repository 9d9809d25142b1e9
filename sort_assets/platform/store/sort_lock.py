"""One sort per recording at a time."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sort_assets.errors import RecordingBusyError
from sort_assets.platform.store.files import remove_empty
from sort_assets.platform.store.layout import SORT_LOCK
from sort_assets.platform.store.locks import Locked, Owner, exclusive_lock, read_owner
from sort_assets.platform.store.store import Store

_PATIENCE_S = 1.0
_POLL_S = 0.05


@contextmanager
def sort_lock(store: Store, recording: str, *, run_id: str) -> Iterator[None]:
    """Be the only one who sorts a recording; the kernel ends this when the process dies, however it dies.

    Parameters
    ----------
    store : Store
    recording : str
        The recording's key.
    run_id : str
        The Dagster run that sorts.

    Raises
    ------
    RecordingBusyError
        When somebody else is sorting it; says who.
    """
    lock = store.asset_folder(recording, "sorting") / SORT_LOCK
    try:
        with ExitStack() as held:
            Owner.this_process(run_id).sign(_take(lock, held, recording))
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    finally:
        remove_empty([lock.parent, lock.parent.parent])


def _take(lock: Path, held: ExitStack, recording: str) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return held.enter_context(exclusive_lock(lock, make_folder=True))
        except Locked as locked:
            # Who looks whether the recording is in use holds the lock for a moment; a new holder signs a moment later.
            if time.monotonic() > deadline:
                raise _busy(recording, read_owner(lock)) from locked
        time.sleep(_POLL_S)


def _busy(recording: str, owner: Owner | None) -> RecordingBusyError:
    if owner is None:
        return RecordingBusyError(
            f"'{recording}' is being sorted by somebody else.", remedy="Wait until that has ended, then try again."
        )
    return RecordingBusyError(
        f"'{recording}' is being sorted by run {owner.run_id} (process {owner.pid} on {owner.host}).",
        remedy="Wait until that run has ended, or terminate it, then materialize again.",
        host=owner.host,
        pid=owner.pid,
        run_id=owner.run_id,
    )
