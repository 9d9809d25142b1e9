"""A second daemon on the same instance is refused, and a dead one blocks nobody."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from sort_assets.errors import InstanceError
from sort_assets.platform.execution.only_daemon import LOCK_FILE, daemon_processes, only_daemon
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


def test_a_daemon_whose_heartbeat_is_renewed_is_refused(home: Home) -> None:
    ended = threading.Event()
    with home.instance() as instance:
        beat(instance, "elsewhere")

        def go_on() -> None:
            while not ended.wait(QUICK_S):
                beat(instance, "elsewhere")

        other = threading.Thread(target=go_on)
        other.start()
        try:
            with (
                pytest.raises(InstanceError, match="on another host or of another user"),
                only_daemon(instance, dagster_home_of(home), 3000, print, heartbeat_s=2 * QUICK_S),
            ):
                pass
        finally:
            ended.set()
            other.join()


def test_heartbeats_of_daemons_that_have_ended_are_in_nobodys_way(home: Home) -> None:
    said: list[str] = []
    folder = dagster_home_of(home)
    with home.instance() as instance:
        beat(instance, "long ago", age_s=100.0)
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
    assert "Another Dagster daemon works on this instance too" in str(second)


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


@pytest.mark.slow
def test_up_is_refused_beside_up_on_any_port(home: Home, tmp_path: Path) -> None:
    with up(home, tmp_path / "up.log") as (server, servers):
        refused = home.invoke("up", "--port", str(free_port()))

    assert refused.status == 1
    assert f"process {servers.pid} on host {socket.gethostname()}" in refused.output
    assert f"port {server.port}" in refused.output
    again = home.instance()
    with again as instance, only_daemon(instance, dagster_home_of(home), 3000, print):
        pass
