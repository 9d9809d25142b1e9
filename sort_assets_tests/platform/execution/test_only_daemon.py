"""A second daemon on the same instance is refused, and a dead one blocks nobody."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from sort_assets.errors import InstanceError
from sort_assets.platform.execution.only_daemon import LOCK_FILE, DaemonOwner, daemon_processes, only_daemon
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.ports import free_port
from sort_assets_tests.fixtures.servers import up

HOLD = """
import sys, time
from pathlib import Path
from sort_assets.platform.execution.home import dagster_home, open_instance
from sort_assets.platform.execution.only_daemon import only_daemon
with open_instance() as instance, only_daemon(instance, dagster_home(), 4321, print):
    print("held", flush=True)
    time.sleep(600)
"""
QUICK_S = 0.2
"""In place of Dagster's 30 seconds between two heartbeats."""


def dagster_home_of(home: Home) -> Path:
    return Path(home.variables["DAGSTER_HOME"])


@contextmanager
def held_by_another_process(home: Home, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds what `sort-assets up` holds."""
    log = folder / "holder.log"
    holder = home.start(sys.executable, "-c", HOLD, output=log)
    try:
        deadline = time.monotonic() + 60
        while "held" not in log.read_text():
            assert holder.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield holder
    finally:
        holder.kill()
        holder.wait()


def test_a_second_one_is_refused_with_the_firsts_host_and_pid_and_a_dead_one_is_not_in_the_way(
    home: Home, tmp_path: Path
) -> None:
    with held_by_another_process(home, tmp_path) as holder:
        refused = home.invoke("up", "--port", str(free_port()))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with home.instance() as instance, only_daemon(instance, dagster_home_of(home), 3000, print):
            owner = (dagster_home_of(home) / LOCK_FILE).read_text()

    assert refused.status == 1
    assert f"process {holder.pid} on host {socket.gethostname()}" in refused.output
    assert "with its UI on port 4321" in refused.output
    assert "Another port does not help" in refused.output
    assert f'"pid":{os.getpid()}' in owner


def beat(instance: dg.DagsterInstance, daemon_id: str, age_s: float = 0.0) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age_s, "SENSOR", daemon_id))


@contextmanager
def repeated(act: Callable[[], object]) -> Iterator[None]:
    """Do something now, and again and again in a thread."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(QUICK_S):
            act()

    act()
    other = threading.Thread(target=go_on)
    other.start()
    try:
        yield
    finally:
        ended.set()
        other.join()


@pytest.mark.parametrize("age_s", [0.0, 3600.0, -3600.0], ids=["same time", "an hour behind", "an hour ahead"])
def test_a_daemon_whose_heartbeat_is_renewed_is_refused_whatever_its_clock_says(home: Home, age_s: float) -> None:
    with (
        home.instance() as instance,
        repeated(lambda: beat(instance, "elsewhere", age_s)),
        pytest.raises(InstanceError, match="on another host or of another user"),
        only_daemon(instance, dagster_home_of(home), 3000, print, heartbeat_s=2 * QUICK_S),
    ):
        pass


def enter(instance: dg.DagsterInstance, **facts: Any) -> DaemonOwner:
    """Leave the entry of a `sort-assets up` on a machine with the name of this one."""
    entry = {"host": socket.gethostname(), "pid": 1, "port": 4321, "since": datetime.now(UTC), "machine": "another"}
    owner = DaemonOwner.model_validate(entry | facts)
    instance.daemon_cursor_storage.set_cursor_values({"sort_assets/daemon": owner.model_dump_json()})
    return owner


def test_one_that_starts_on_another_machine_of_the_same_name_is_waited_for_and_refused(home: Home) -> None:
    said: list[str] = []
    with home.instance() as instance:
        enter(instance)
        with (
            pytest.raises(InstanceError, match="process 1 on host") as refused,
            only_daemon(instance, dagster_home_of(home), 3000, said.append, heartbeat_s=QUICK_S),
        ):
            pass

    assert "waiting" in said[0]
    assert "It may be starting. If it has ended, try again in" in refused.value.remedy


@pytest.mark.parametrize(
    "facts", [{"ended": True}, {"since": datetime(2026, 1, 1, tzinfo=UTC)}], ids=["in order", "long ago"]
)
def test_one_on_another_machine_that_has_ended_is_in_nobodys_way(home: Home, facts: dict[str, Any]) -> None:
    said: list[str] = []
    with home.instance() as instance:
        enter(instance, daemon_id="theirs", **facts)
        beat(instance, "theirs", age_s=0.0 if "ended" in facts else 2 * 24 * 3600.0)
        with only_daemon(instance, dagster_home_of(home), 3000, said.append):
            pass

    assert said == []


def test_one_that_renews_its_entry_is_refused_with_its_process(home: Home) -> None:
    with home.instance() as instance:
        since = datetime.now(UTC) - timedelta(hours=1)
        with (
            repeated(lambda: enter(instance, since=since, renewed_at=datetime.now(UTC))),
            pytest.raises(InstanceError, match="process 1 on host"),
            only_daemon(instance, dagster_home_of(home), 3000, print, heartbeat_s=2 * QUICK_S),
        ):
            pass


def test_another_home_of_this_machine_with_the_same_storage_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        held_by_another_process(home, tmp_path) as holder,
        home.instance() as instance,
        pytest.raises(InstanceError, match=f"process {holder.pid} on host"),
        only_daemon(instance, tmp_path / "other", 3000, print, heartbeat_s=QUICK_S),
    ):
        pass


def test_one_that_was_entered_at_the_same_moment_is_told(home: Home) -> None:
    with home.instance() as instance, only_daemon(instance, dagster_home_of(home), 3000, print) as watch:
        alone = watch.check()
        enter(instance)
        beside, again = watch.check(), watch.check()

    assert (alone, again) == (None, None)
    assert "works on this instance too: `sort-assets up`, process 1 on host" in str(beside)


@pytest.mark.parametrize(
    ("line", "is_home"),
    [
        ("DAGSTER_HOME={home}", True),
        ("export DAGSTER_HOME='{home}/'", True),
        ("DAGSTER_HOME={home}_test", False),
        ("# DAGSTER_HOME={home}\nDAGSTER_HOME=/another", False),
        ("OTHER={home}", False),
    ],
)
def test_a_process_is_a_daemon_of_the_home_that_its_env_file_sets(tmp_path: Path, line: str, is_home: bool) -> None:
    home = tmp_path / "lab"
    (tmp_path / ".env").write_text(line.format(home=home) + "\n")
    bare = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    code = "import time; time.sleep(60)"
    daemon = subprocess.Popen([sys.executable, "-c", code, "dagster._daemon", "run"], cwd=tmp_path, env=bare)
    try:
        found = daemon_processes(home)
    finally:
        daemon.kill()
        daemon.wait()

    assert found == ([daemon.pid] if is_home else [])


def test_heartbeats_of_daemons_that_have_ended_are_in_nobodys_way(home: Home) -> None:
    said: list[str] = []
    folder = dagster_home_of(home)
    with home.instance() as instance:
        beat(instance, "long ago", age_s=2 * 24 * 3600.0)
        with only_daemon(instance, folder, 3000, said.append) as watch:
            beat(instance, "ours")
            assert watch.check() is None
        assert said == []  # neither was there anything to wait for

        with only_daemon(instance, folder, 3000, said.append):
            pass
        assert said == []

        beat(instance, "killed a moment ago")
        with only_daemon(instance, folder, 3000, said.append, heartbeat_s=QUICK_S):
            pass
        assert len(said) == 1
        assert "waiting whether its heartbeat is renewed" in said[0]


def test_one_that_is_started_beside_it_is_told_once(home: Home) -> None:
    with home.instance() as instance, only_daemon(instance, dagster_home_of(home), 3000, print) as watch:
        beat(instance, "ours")
        first = watch.check()
        beat(instance, "theirs")
        second, third = watch.check(), watch.check()

    assert (first, third) == (None, None)
    assert "Another daemon works on this instance too" in str(second)


@pytest.mark.slow
def test_a_plain_dagster_daemon_is_refused_with_its_pid(home: Home, tmp_path: Path) -> None:
    daemon = home.start(
        "dagster-daemon", "run", "-w", str(dagster_home_of(home) / "workspace.yaml"), output=tmp_path / "log"
    )
    try:
        deadline = time.monotonic() + 60
        while not daemon_processes(dagster_home_of(home)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        refused = home.invoke("up", "--port", str(free_port()))
        assert daemon_processes(tmp_path) == []
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()

    assert refused.status == 1
    assert f"process {daemon.pid} on host {socket.gethostname()}" in refused.output


@pytest.mark.release
def test_up_is_refused_beside_up_on_any_port(home: Home, tmp_path: Path) -> None:
    with up(home, tmp_path / "up.log") as (server, servers):
        refused = home.invoke("up", "--port", str(free_port()))

    assert refused.status == 1
    assert f"process {servers.pid} on host {socket.gethostname()}" in refused.output
    assert f"port {server.port}" in refused.output
    again = home.instance()
    with again as instance, only_daemon(instance, dagster_home_of(home), 3000, print):
        pass
