"""Whether the writer of a staging folder lives: the one decision on which all who remove such folders rely.

On a disk of this machine a lock that is free says it all. It does not on a file system that hosts share, nor on a disk
that this machine exports to the nodes of an engine: the server drops the locks of a host that it has not heard of for a
while, and that host may only have been cut off, or frozen. There, whoever can say decides: the writer's own host, whose
kernel sees its process or was booted since; else the Dagster instance, in which its run is over or not. A staging
folder of which nobody can say is kept for `KEPT_FOR_DAYS`.
"""

import time
from collections.abc import Callable
from pathlib import Path

from sort_assets.config.settings import read_environment
from sort_assets.machine.file_system import is_local
from sort_assets.platform.store.layout import LOCK_SUFFIX
from sort_assets.platform.store.locks import is_locked, read_owner

RunIsOver = Callable[[str], bool | None]
"""Whether a Dagster run, by its id, is over; None where that is not known."""

KEPT_FOR_DAYS = 14.0
_DAY_S = 24 * 3600.0


def nobody_knows(run_id: str) -> None:
    """Of no run it is known whether it is over."""


def writes(lock: Path, run_is_over: RunIsOver = nobody_knows) -> bool:
    """Whether a staging folder, by its lock, is being written, or may be.

    Parameters
    ----------
    lock : Path
        Its lock file, beside it; need not exist.
    run_is_over : callable
        Asked about the run that wrote, where nothing nearer tells.
    """
    return is_locked(lock) or not is_dead(lock, run_is_over)


def is_dead(lock: Path, run_is_over: RunIsOver = nobody_knows) -> bool:
    """Whether the writer who last held a lock is certainly dead, of a lock that nobody holds, or only the caller."""
    # Of a disk from which other hosts read and write, this machine is the server that may have dropped their locks.
    if is_local(lock.parent) and read_environment().engine == "local":
        return True
    owner = read_owner(lock)
    if owner is not None:
        lives = owner.lives_here
        if lives is not None:
            return not lives
        over = run_is_over(owner.run_id)
        if over is not None:
            return over
    return _days_since_change(lock) > KEPT_FOR_DAYS


def _days_since_change(lock: Path) -> float:
    """Days since a staging folder, or something directly in it, was changed; of its lock, where it has none."""
    staging = lock.with_name(lock.name.removesuffix(LOCK_SUFFIX))
    try:
        changed = [staging.stat().st_mtime, *(path.lstat().st_mtime for path in staging.iterdir())]
    except (FileNotFoundError, NotADirectoryError):
        try:
            changed = [lock.stat().st_mtime]
        except FileNotFoundError:
            return 0.0
    return (time.time() - max(changed)) / _DAY_S
