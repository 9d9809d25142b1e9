"""One Dagster daemon for an instance: a second one would tick every sensor too, and launch every recording twice.

Three things tell of another daemon. `sort-assets up` holds a lock in the Dagster home, which the kernel releases when
it dies, however it dies. Processes of this host that are a Dagster daemon of the same home are found by their command
line, which covers `dagster dev` and `dagster-daemon run`. And every daemon renews its heartbeat in the instance about
every 30 seconds, on whatever host it runs; one that is not renewed was that of a daemon that has ended.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import psutil
from pydantic import BaseModel, ConfigDict

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE
from sort_assets.errors import InstanceError
from sort_assets.platform.store.locks import Locked, exclusive_lock

if TYPE_CHECKING:
    from dagster._daemon.types import DaemonHeartbeat

LOCK_FILE = "sort_assets_daemon.lock"
"""In the Dagster home; it stays there, and says who held it last."""
_KEY = "sort_assets/daemon"
"""In the instance's storage, which other hosts may share: the same as in the lock file."""
HEARTBEAT_S = 30.0
"""Dagster's interval between two heartbeats of a daemon."""
_POLL_S = 0.5
_ENDING_S = 5.0
"""Time that a daemon of this host gets to end: its `sort-assets up` may have died this instant."""


class DaemonOwner(BaseModel):
    """Who runs the daemon of an instance.

    Attributes
    ----------
    host : str
    pid : int
    port : int
        Of the Dagster UI.
    since : datetime
    daemon_id : str or None
        Dagster's name of the daemon in its heartbeats, once there was one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    pid: int
    port: int
    since: datetime
    daemon_id: str | None = None

    @property
    def words(self) -> str:
        """For messages."""
        return (
            f"`sort-assets up`, process {self.pid} on host {self.host}, since {self.since:%Y-%m-%d %H:%M} UTC, "
            f"with its UI on port {self.port}"
        )


@dataclass
class DaemonWatch:
    """Looks for other daemons while ours runs.

    Attributes
    ----------
    instance : dg.DagsterInstance
    owner : DaemonOwner
    sign : callable
        Writes down who the owner is.
    before : frozenset of str
        Names of daemons that had left a heartbeat before ours started.
    told : set of str
        Names of other daemons that were found.
    """

    instance: dg.DagsterInstance
    owner: DaemonOwner
    sign: Callable[[DaemonOwner], None]
    before: frozenset[str]
    told: set[str] = field(default_factory=set)

    def check(self) -> str | None:
        """A sentence about a daemon that was started beside ours; None where there is no news."""
        started = self.owner.since.timestamp()
        ids = {one.daemon_id for one in _heartbeats(self.instance) if one.timestamp >= started and one.daemon_id}
        if self.owner.daemon_id is None and (ours := ids - self.before):
            self.owner = self.owner.model_copy(update={"daemon_id": min(ours)})
            self.sign(self.owner)
        others = ids - {self.owner.daemon_id} - self.told if self.owner.daemon_id else set()
        if not others:
            return None
        self.told |= others
        return (
            "Another Dagster daemon works on this instance too, so that sensors tick twice and recordings may be "
            "launched twice. End it: a `dagster dev` or `dagster-daemon run` that was started after this one."
        )


@contextlib.contextmanager
def only_daemon(
    instance: dg.DagsterInstance,
    home: Path,
    port: int,
    say: Callable[[str], None],
    *,
    heartbeat_s: float = HEARTBEAT_S,
) -> Iterator[DaemonWatch]:
    """Be the one who runs the daemon of an instance.

    Parameters
    ----------
    instance : dg.DagsterInstance
    home : Path
        Its `DAGSTER_HOME`.
    port : int
        Of the Dagster UI, told to whoever is refused.
    say : callable
        Called with messages for the user.
    heartbeat_s : float
        Interval between two heartbeats of a daemon.

    Raises
    ------
    InstanceError
        When a daemon works on the instance already.
    """
    lock = home / LOCK_FILE
    with contextlib.ExitStack() as held:
        try:
            descriptor = held.enter_context(exclusive_lock(lock))
        except Locked:
            owner = _read(lock)
            raise _refusal(
                owner.words if owner else f"whoever holds the lock '{lock}'",
                f"Use that one, at http://127.0.0.1:{owner.port}" if owner else "Use that one",
                f"end it with Ctrl-C there, or `kill {owner.pid}` on {owner.host}" if owner else "end it",
            ) from None
        except OSError as error:  # a network file system without locks
            say(f"'{lock}' can't be locked ({error}), so that only heartbeats tell of another daemon.")
            descriptor = None
        last = _stored(instance)
        _refuse_processes(home)
        _refuse_heartbeats(instance, last, heartbeat_s, say)

        def sign(owner: DaemonOwner) -> None:
            text = owner.model_dump_json()
            if descriptor is not None:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, text.encode(), 0)
            instance.daemon_cursor_storage.set_cursor_values({_KEY: text})

        owner = DaemonOwner(host=socket.gethostname(), pid=os.getpid(), port=port, since=datetime.now(UTC))
        sign(owner)
        before = frozenset(one.daemon_id for one in _heartbeats(instance) if one.daemon_id)
        watch = DaemonWatch(instance, owner, sign, before)
        try:
            yield watch
        finally:
            watch.check()  # whoever comes next then knows the last heartbeats as those of a daemon that has ended


def daemon_processes(home: Path) -> list[int]:
    """Processes of this host that are a Dagster daemon of a home; those of other users can't be seen."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "cwd"]):
        words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if process.pid == os.getpid() or not _is_daemon(words):
            continue
        theirs = environment.get(DAGSTER_HOME_VARIABLE)
        if _is_same(theirs, home) if theirs else _names_home(process.info["cwd"], home):
            found.append(process.pid)
    return found


def _refuse_processes(home: Path) -> None:
    deadline = time.monotonic() + _ENDING_S
    while pids := daemon_processes(home):
        if time.monotonic() > deadline:
            raise _refusal(
                f"a Dagster daemon, process {pids[0]} on host {socket.gethostname()}, perhaps of a `dagster dev`",
                "Use that one",
                f"end it where it was started, or with `kill {pids[0]}`",
            )
        time.sleep(_POLL_S)


def _refuse_heartbeats(
    instance: dg.DagsterInstance, last: DaemonOwner | None, heartbeat_s: float, say: Callable[[str], None]
) -> None:
    """Refuse when a heartbeat is renewed that no process of this host explains."""
    recent = time.time() - 3 * heartbeat_s
    young = [one for one in _heartbeats(instance) if one.timestamp > recent and one.daemon_id]
    # That one ran on this host: its lock is free and no such process is there, so it has ended.
    ended = last.daemon_id if last is not None and last.host == socket.gethostname() else None
    seen = {one.daemon_id: one.timestamp for one in young if one.daemon_id != ended}
    if not seen:
        return
    say(f"A daemon was alive within the last {3 * heartbeat_s:.0f} s; waiting whether its heartbeat is renewed.")
    newest = max(one.timestamp for one in young)
    while time.time() < newest + 2 * heartbeat_s:
        time.sleep(min(_POLL_S, heartbeat_s))
        for one in _heartbeats(instance):
            if one.daemon_id in seen and one.timestamp > newest:
                named = last is not None and last.daemon_id == one.daemon_id
                raise _refusal(
                    last.words
                    if named and last
                    else "a Dagster daemon on another host or of another user, which renewed its heartbeat at "
                    f"{datetime.fromtimestamp(one.timestamp, UTC):%H:%M:%S} UTC",
                    "Use that one",
                    "end it where it was started",
                )


def _refusal(who: str, use: str, end: str) -> InstanceError:
    return InstanceError(
        f"A daemon works on this Dagster instance already: {who}.",
        remedy=f"{use}, or {end}. Another port does not help: two daemons would launch every recording twice.",
    )


def _heartbeats(instance: dg.DagsterInstance) -> "list[DaemonHeartbeat]":
    return list(instance.get_daemon_heartbeats().values())


def _stored(instance: dg.DagsterInstance) -> DaemonOwner | None:
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    return _parsed(text) if text else None


def _read(lock: Path) -> DaemonOwner | None:
    try:
        return _parsed(lock.read_text(encoding="utf-8"))
    except OSError:
        return None


def _parsed(text: str) -> DaemonOwner | None:
    try:
        return DaemonOwner.model_validate_json(text)
    except ValueError:
        return None


def _is_daemon(words: list[str]) -> bool:
    named = any(word == "dagster._daemon" or Path(word).name == "dagster-daemon" for word in words)
    return named and "run" in words


def _is_same(folder: str, home: Path) -> bool:
    return Path(folder).resolve() == home.resolve()


def _names_home(folder: str | None, home: Path) -> bool:
    """Whether the `.env` of a process that has no such variable names the home."""
    try:
        return folder is not None and str(home) in (Path(folder) / ".env").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
