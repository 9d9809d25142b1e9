"""One Dagster daemon for an instance: a second one would tick every sensor too, and launch every recording twice.

Four things tell of another daemon. `sort-assets up` holds a lock in the Dagster home, which the kernel releases when
it dies, however it dies. Processes of this host that are a Dagster daemon of the same home are found by their command
line, which covers `dagster dev` and `dagster-daemon run`. `sort-assets up` renews its entry in the instance's storage,
which says when it has ended; and every daemon renews its heartbeat there about every 30 seconds, on whatever host it
runs. What counts is whether these change, not how old they are: clocks of hosts differ, their names may not.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE
from sort_assets.errors import InstanceError
from sort_assets.machine.host import HostIdentity
from sort_assets.platform.store.locks import Locked, exclusive_lock

Beat = tuple[str, float]
"""Dagster's name of a daemon, and the time of its heartbeat by its own clock."""
LOCK_FILE = "sort_assets_daemon.lock"
"""In the Dagster home; it stays there, and says who held it last."""
_KEY = "sort_assets/daemon"
"""In the instance's storage, which other hosts may share: the same as in the lock file."""
HEARTBEAT_S = 30.0
"""Dagster's interval between two heartbeats of a daemon."""
_END_IT = "Sensors tick twice, and recordings may be launched twice: end one of the two."
_POLL_S = 0.5
_DAEMON_MODULES = {"dagster._daemon", "sort_assets.platform.execution.daemon"}
_FORGOTTEN_S = 24 * 3600.0
"""Heartbeats and entries that differ more from our clock are not waited for."""
_STARTING_HEARTBEATS = 5
"""Within this many intervals a daemon has started, and left its first heartbeat."""
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
    machine : str
        Which machine, since which boot, and which processes see each other there: hosts may have the same name.
    daemon_id : str or None
        Dagster's name of the daemon in its heartbeats, once there was one.
    renewed_at : datetime or None
        When the entry was last renewed.
    ended : bool
        Whether it ended in an orderly way.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    pid: int
    port: int
    since: datetime
    machine: str = ""
    daemon_id: str | None = None
    renewed_at: datetime | None = None
    ended: bool = False

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process is one that this process could see."""
        return (self.host, self.machine) == (socket.gethostname(), _machine())

    @property
    def process_lives(self) -> bool:
        """Whether its process, of this machine, is still there."""
        try:
            # Process ids are used again; the entry was made after its process began.
            return self.pid != os.getpid() and psutil.Process(self.pid).create_time() < self.since.timestamp() + 1.0
        except psutil.Error:
            return False

    def is_same(self, other: "DaemonOwner") -> bool:
        """Whether both are the same start of the same process."""
        return (self.host, self.machine, self.pid, self.since) == (other.host, other.machine, other.pid, other.since)

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
    before : mapping
        The heartbeats before ours started, by kind of daemon: name and time.
    told : set of str
        Names of other daemons that were found.
    """

    instance: dg.DagsterInstance
    owner: DaemonOwner
    sign: Callable[[DaemonOwner], None]
    before: "Mapping[str, Beat]"
    told: set[str] = field(default_factory=set)

    def check(self) -> str | None:
        """A sentence about a daemon that was started beside ours, None where there is no news; and renew our entry."""
        beats = _beats(self.instance)
        ids = {beat[0] for kind, beat in beats.items() if self.before.get(kind) != beat}
        ours = ids - {daemon_id for daemon_id, _ in self.before.values()} - self.told
        if self.owner.daemon_id is None and ours:
            self.owner = self.owner.model_copy(update={"daemon_id": min(ours)})
        stored = _stored(self.instance)
        self.owner = self.owner.model_copy(update={"renewed_at": datetime.now(UTC)})
        self.sign(self.owner)
        if stored and not stored.ended and not stored.is_same(self.owner) and stored.words not in self.told:
            self.told |= {stored.words, *ids}
            return f"Another daemon works on this instance too: {stored.words}. {_END_IT}"
        others = ids - {self.owner.daemon_id} - self.told if self.owner.daemon_id else set()
        if not others:
            return None
        self.told |= others
        return (
            f"Another daemon works on this instance too, of a `dagster dev` or `dagster-daemon run` that was started "
            f"after this one. {_END_IT}"
        )

    def expect_another(self) -> None:
        """Ours has died and is started again: its heartbeats will have another name."""
        if self.owner.daemon_id is not None:
            self.told.add(self.owner.daemon_id)
        self.owner = self.owner.model_copy(update={"daemon_id": None})

    def end(self) -> None:
        """Write down that ours has ended, with its last heartbeats: they are in nobody's way."""
        self.check()
        self.sign(self.owner.model_copy(update={"ended": True}))


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
            whoever = _refusal(f"whoever holds the lock '{lock}'", "Use that one", "end it")
            raise (_refusal_of(owner) if owner else whoever) from None
        except OSError as error:  # a network file system without locks
            say(f"'{lock}' can't be locked ({error}), so that only heartbeats tell of another daemon.")
            descriptor = None
        last = _stored(instance)
        _refuse_processes(home)
        _refuse_heartbeats(instance, last, heartbeat_s, say)

        def sign(owner: DaemonOwner) -> None:
            text = owner.model_dump_json()
            if descriptor is not None:
                # In this order, whoever reads meanwhile finds the entry, perhaps with a rest of the one before.
                os.pwrite(descriptor, text.encode(), 0)
                os.ftruncate(descriptor, len(text.encode()))
            instance.daemon_cursor_storage.set_cursor_values({_KEY: text})

        owner = DaemonOwner(
            host=socket.gethostname(), pid=os.getpid(), port=port, since=datetime.now(UTC), machine=_machine()
        )
        before = _beats(instance)
        sign(owner)
        watch = DaemonWatch(instance, owner, sign, before)
        try:
            yield watch
        finally:
            try:
                watch.end()
            except Exception as error:  # its database is away: whoever starts the next one waits for a while
                say(f"That the daemon has ended could not be written down ({type(error).__name__}: {error}).")


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
    """Refuse when a heartbeat or an entry is renewed, or one was made that may still become a daemon."""
    if last is not None and last.is_of_this_machine and not last.ended and last.process_lives:
        raise _refusal_of(last)  # with another Dagster home and the same storage
    has_ended = last is None or last.ended or last.is_of_this_machine
    ended = last.daemon_id if last is not None and has_ended else None
    now = time.time()
    before = _beats(instance)
    may_beat = any(beat[0] != ended and abs(now - beat[1]) < _FORGOTTEN_S for beat in before.values())
    may_live = (
        not has_ended and last is not None and abs(now - (last.renewed_at or last.since).timestamp()) < _FORGOTTEN_S
    )
    if not may_beat and not may_live:
        return
    say(f"A daemon may be alive elsewhere; waiting whether its heartbeat is renewed, up to {2 * heartbeat_s:.0f} s.")
    deadline = time.monotonic() + 2 * heartbeat_s
    while time.monotonic() < deadline:
        time.sleep(min(_POLL_S, heartbeat_s / 2))
        present = _stored(instance) if may_live else None
        if present is not None and present != last:
            if not present.ended:
                raise _refusal_of(present)
            may_live, ended = False, present.daemon_id
        for kind, beat in _beats(instance).items():
            if beat[0] != ended and beat != before.get(kind):
                if last is not None and (last.daemon_id == beat[0] or (may_live and last.daemon_id is None)):
                    raise _refusal_of(last)
                raise _refusal(
                    "a Dagster daemon on another host or of another user, which renewed its heartbeat at "
                    f"{datetime.fromtimestamp(beat[1], UTC):%H:%M:%S} UTC of its clock",
                    "Use that one",
                    "end it where it was started",
                )
    is_young = last is not None and abs(time.time() - last.since.timestamp()) < _STARTING_HEARTBEATS * heartbeat_s
    if may_live and is_young and last is not None and last.daemon_id is None:
        again_s = (_STARTING_HEARTBEATS - 2) * heartbeat_s
        raise _refusal_of(last, f" It may be starting. If it has ended, try again in {again_s:.0f} s.")


def _refusal_of(owner: DaemonOwner, more: str = "") -> InstanceError:
    return _refusal(
        owner.words,
        f"Use that one, at http://127.0.0.1:{owner.port} on {owner.host}",
        f"end it with Ctrl-C there, or `kill {owner.pid}` on {owner.host}",
        more,
    )


def _refusal(who: str, use: str, end: str, more: str = "") -> InstanceError:
    return InstanceError(
        f"A daemon works on this Dagster instance already: {who}.",
        remedy=f"{use}, or {end}. Another port does not help: two daemons would launch every recording twice.{more}",
    )


def _beats(instance: dg.DagsterInstance) -> dict[str, Beat]:
    """The last heartbeat of each kind of daemon."""
    beats = instance.get_daemon_heartbeats()
    return {kind: (one.daemon_id, one.timestamp) for kind, one in beats.items() if one.daemon_id}


def _machine() -> str:
    here = HostIdentity.here()
    # Containers of a machine don't see each other's processes.
    return " ".join(filter(None, (here.machine_id, here.boot_id, here.pid_namespace)))


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
    named = any(word in _DAEMON_MODULES or Path(word).name == "dagster-daemon" for word in words)
    return named and "run" in words


def _is_same(folder: str, home: Path) -> bool:
    return Path(folder).expanduser().resolve() == home.resolve()


def _names_home(folder: str | None, home: Path) -> bool:
    """Whether the `.env` of a process that has no such variable names the home."""
    try:
        theirs = dotenv_values(Path(folder) / ".env").get(DAGSTER_HOME_VARIABLE) if folder is not None else None
        return theirs is not None and _is_same(theirs, home)
    except (OSError, ValueError):
        return False
