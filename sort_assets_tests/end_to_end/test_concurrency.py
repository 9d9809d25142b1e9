"""Two runs at once on one machine: sorts take turns, everything else overlaps, and nobody disturbs the other."""

import os
import signal
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from sort_assets.platform.store.handles import StoredSorting
from sort_assets.running.job import JOB_FILE, OUTCOME_FILE
from sort_assets_tests.fixtures.home import Home, materialize_words
from sort_assets_tests.fixtures.ready import UPSTREAM, Ready


@pytest.mark.release
def test_sorts_of_two_runs_take_turns_and_both_succeed(ready: Ready, short_file: Path, tmp_path: Path) -> None:
    home = ready.home
    keys = [ready.key, home.register(home.link(short_file, "second.nwb"))]
    assert home.materialize(keys[1], *UPSTREAM).success

    commands = [
        home.start(
            *materialize_words(key, "sorting", config_file=tmp_path / f"{key}.json"), output=tmp_path / f"{key}.log"
        )
        for key in keys
    ]
    try:
        statuses = [command.wait(timeout=300) for command in commands]
    finally:
        for command in commands:
            if command.poll() is None:
                os.killpg(command.pid, signal.SIGKILL)
                command.wait()

    assert statuses == [0, 0], [(tmp_path / f"{key}.log").read_text(encoding="utf-8")[-3000:] for key in keys]
    assert all(len(StoredSorting(home.roots, key).load().unit_ids) == 8 for key in keys)
    # What guards the device is its lease, so the sorters are asked and not the steps: in Dagster 1.13.27 with SQLite,
    # two processes that claim the first slot of a pool at the same instant may both be given it.
    (_, first_ended), (second_began, _) = sorted(_sorter_times(home, key) for key in keys)
    assert first_ended <= second_began
    first, second = sorted((_run_times(home, key) for key in keys), key=lambda times: times[1])
    assert second[0] < first[1], "the second did not have to wait"
    assert [path.name for path in Path(home.variables["SORT_ASSETS_LEASES"]).iterdir()]


@pytest.mark.slow
def test_a_run_that_waits_for_the_pool_leaves_the_processor_to_others(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key
    with home.instance() as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default("gpu")
        taken = instance.event_log_storage.claim_concurrency_slot("gpu", "another run", "sorting")
    words = materialize_words(key, "sorting", config_file=tmp_path / "run.json")
    command = home.start(*words, output=tmp_path / "run.log")
    try:
        deadline = time.monotonic() + 60
        while "blocked by limit for pool gpu" not in (tmp_path / "run.log").read_text(encoding="utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        before = psutil.Process(command.pid).cpu_times()
        time.sleep(5)
        after = psutil.Process(command.pid).cpu_times()
    finally:
        os.killpg(command.pid, signal.SIGKILL)
        command.wait()

    assert taken.is_claimed
    assert after.user + after.system - before.user - before.system < 1.0


def _sorter_times(home: Home, key: str) -> tuple[float, float]:
    """When the process of a recording's sorter was given its job, and when it wrote how that ended."""
    folder = home.store.artefact(key, "sorting").path / "sorter"
    return (folder / JOB_FILE).stat().st_mtime, (folder / OUTCOME_FILE).stat().st_mtime


def _run_times(home: Home, key: str) -> tuple[float, float]:
    """When the process of the newest run of a recording started, and when the run ended, in seconds."""
    with home.instance() as instance:
        (record,) = instance.get_run_records(filters=dg.RunsFilter(tags={"dagster/partition": key}), limit=1)
    assert record.start_time is not None
    assert record.end_time is not None
    return record.start_time, record.end_time
