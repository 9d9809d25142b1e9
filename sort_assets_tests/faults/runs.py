"""Runs in real processes, their failures injected from outside, and what is left of them afterwards."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil

from sort_assets.platform.store.failures import failed_attempts
from sort_assets.platform.store.locks import read_owner
from sort_assets_tests.fixtures.home import BIN, CHECKOUT, Home, materialize_words, staging_of
from sort_assets_tests.fixtures.ready import UPSTREAM

TABLE = CHECKOUT / "test-output" / "faults.tsv"
"""Fault, outcome, seconds to detection, what was left: for people."""
T = TypeVar("T")


@dataclass(frozen=True)
class RunningSort:
    """A command that materializes a sorting, while it runs.

    Attributes
    ----------
    home : Home
    key : str
        The recording's key.
    command : subprocess.Popen
        The run worker.
    log : Path
        What it prints.
    """

    home: Home
    key: str
    command: "subprocess.Popen[bytes]"
    log: Path

    @property
    def run(self) -> dg.DagsterRun:
        """Its run."""
        return last_run(self.home)

    def step(self, timeout_s: float = 120) -> psutil.Process:
        """The step's process, once it writes its staging."""
        return self.wait_for(lambda: _step(self.home, self.key), "the step", timeout_s)

    def sorter(self, timeout_s: float = 120, *, at_work: bool = True) -> psutil.Process:
        """The sorter's process; once SpikeInterface has given it its folder, if it is to be at work."""
        return self.wait_for(lambda: _sorter(self.home, self.key, at_work=at_work), "the sorter", timeout_s)

    def wait_for(self, found: Callable[[], T | None], what: str, timeout_s: float) -> T:
        """What `found` returns, as soon as it returns something."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.command.poll() is None:
            if (thing := found()) is not None:
                return thing
            time.sleep(0.02)
        raise AssertionError(f"{what} was never seen:\n{self.output[-3000:]}")

    def ended(self, timeout_s: float = 300) -> int:
        """Wait for the command; returns its status."""
        return self.command.wait(timeout=timeout_s)

    @property
    def output(self) -> str:
        """What the command has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def last_run(home: Home) -> dg.DagsterRun:
    """The newest run."""
    with home.instance() as instance:
        (run,) = instance.get_runs(limit=1)
    return run


def sorter_of(home: Home, key: str, timeout_s: float = 120) -> psutil.Process:
    """The process that sorts a recording, whoever started it; waits until there is one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (sorter := _sorter(home, key, at_work=False)) is not None:
            return sorter
        time.sleep(0.05)
    raise AssertionError(f"nobody sorts {key}")


def _step(home: Home, key: str) -> psutil.Process | None:
    for lock in home.store.asset_folder(key, "sorting").glob(".staging-*.lock"):
        owner = read_owner(lock)
        if owner is not None:
            with suppress(psutil.NoSuchProcess):
                return psutil.Process(owner.pid)
    return None


def _sorter(home: Home, key: str, *, at_work: bool) -> psutil.Process | None:
    folder = home.store.asset_folder(key, "sorting")
    step = _step(home, key)
    if step is None or (at_work and not any(folder.glob(".staging-*/sorter/spikeinterface/sorter_output"))):
        return None
    with suppress(psutil.NoSuchProcess):
        for child in step.children():
            if "sort_assets.running.worker" in child.cmdline():
                return child
    return None


@contextmanager
def sorting(
    home: Home,
    key: str,
    folder: Path,
    config: Mapping[str, Any],
    *,
    python_path: Path | None = None,
    below: Sequence[str] = (),
) -> Iterator[RunningSort]:
    """Start to materialize a sorting from the command line; nothing of it is left at the end.

    `below` is a command that runs ours in another environment: env, prlimit.
    """
    name, *words = materialize_words(key, "sorting", config=config, config_file=folder / f"{key}.json")
    words = [*below, str(BIN / name), *words] if below else [name, *words]
    log = folder / f"{key}.log"
    command = home.start(*words, output=log, python_path=python_path)
    try:
        yield RunningSort(home, key, command, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.wait()


def assert_gone(processes: list[psutil.Process], within_s: float = 15) -> None:
    """Nothing of the processes is left."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def failures_of(home: Home, run_id: str) -> list[dict[str, Any]]:
    """Metadata of the run's step failures, as the UI shows them; all of them must be in words."""
    with home.instance() as instance:
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    shown = []
    for record in records:
        assert record.dagster_event is not None
        failure = record.dagster_event.step_failure_data.user_failure_data
        assert failure is not None, record.dagster_event.step_failure_data.error
        values = {
            name: [row.data for row in value.records] if isinstance(value, dg.TableMetadataValue) else value.value
            for name, value in failure.metadata.items()
        }
        shown.append({"description": failure.description, **values})
    return shown


def retries_of(home: Home, run_id: str) -> int:
    """How often a step of the run was tried again."""
    with home.instance() as instance:
        return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY))


def assert_nothing_half_done(home: Home, key: str) -> None:
    """No staging is left, nobody counts as sorting, and no GPU slot is held."""
    assert staging_of(home, key, "sorting") == []
    assert not home.store.in_use(key)
    with home.instance() as instance:
        assert instance.event_log_storage.get_concurrency_info("gpu").claimed_slots == []


def assert_the_next_recording_succeeds(home: Home, source: Path, name: str) -> None:
    """Another recording goes all the way to its sorting."""
    key = home.register(home.link(source, f"after-{name}"))
    assert home.materialize(key, *UPSTREAM, "sorting").success


def note(home: Home, key: str, fault: str, outcome: str, since: float | None = None) -> None:
    """Add a line to the table of faults: what it came to, after how many seconds, and what it left in the store.

    Parameters
    ----------
    since : float or None
        `time.time()` at which the fault was injected; the last failed attempt says when it was noticed.
    """
    attempts = failed_attempts(home.store, key, "sorting")
    seconds = f"{attempts[-1].time.timestamp() - since:.1f}" if since is not None and attempts else ""
    folder = home.store.asset_folder(key, "sorting")
    versions = len(home.store.versions(key, "sorting"))
    staging = len(list(folder.glob(".staging-*")))
    left = f"{versions} versions, {len(attempts)} failure records, {staging} staging"
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("a", encoding="utf-8") as table:
        table.write(f"{fault}\t{outcome}\t{seconds}\t{left}\n")
