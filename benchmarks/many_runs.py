"""How many runs an instance bears at once, in SQLite files and in PostgreSQL.

    python -m benchmarks.many_runs --runs 30 60
    SORT_ASSETS_POSTGRES_URL=postgresql://user:password@host/empty python -m benchmarks.many_runs --runs 30 60

Each run is whole and tiny, in a process of its own that has imported everything before: one asset in the pool `gpu`,
which waits for its slot, writes twenty lines into the log and gives a materialization and a check. Together they write
what as many sorts write in minutes. Prints, for each number of runs: the wall time until all have ended, the slowest
run, the runs that failed and why, and the CPU time of all processes, to tell a database that is waited for from a
machine that is busy.
"""

import argparse
import collections
import contextlib
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.rows import Row, Size, at_most
from sort_assets.config.settings import POSTGRES_VARIABLE
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.execution.home import open_instance, prepare_home

PARTITIONS = dg.DynamicPartitionsDefinition(name="tiny_recordings")
LINES = 20
PATIENCE_S = 600.0


@dg.asset(partitions_def=PARTITIONS, pool=GPU_POOL, check_specs=[dg.AssetCheckSpec("not_empty", asset="tiny_sorting")])
def tiny_sorting(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """What a sort writes into the instance, without the sort."""
    for line in range(LINES):
        context.log.info(f"line {line}")
    verdict = dg.AssetCheckResult(passed=True, check_name="not_empty")
    return dg.MaterializeResult(metadata={"units": 5}, check_results=[verdict])


JOB = dg.define_asset_job("tiny_runs", selection=[tiny_sorting])
DEFINITIONS = dg.Definitions(assets=[tiny_sorting], jobs=[JOB])


@dataclass(frozen=True)
class Measured:
    """What became of runs that began together.

    Attributes
    ----------
    runs : int
    wall_s : float
        Until the last one ended.
    slowest_s : float
        The run that took longest.
    cpu_s : float
        CPU time of all their processes.
    failures : dict
        How many failed, by reason.
    """

    runs: int
    wall_s: float
    slowest_s: float
    cpu_s: float
    failures: dict[str, int]


def rows(size: Size) -> Iterator[Row]:
    """How many runs of those that begin together do not succeed, in SQLite files; not in the usual run."""
    if size == "usual":
        return
    number = 30 if size == "full" else 3
    with tempfile.TemporaryDirectory() as folder, environment(Path(folder), None):
        for measured in measure([number]):
            failed = sum(measured.failures.values())
            yield Row(f"{number} runs at once in SQLite", failed, "failed", at_most(0), in_words("SQLite", measured))


def main() -> None:
    """Measure SQLite, and PostgreSQL where the environment names a database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[30, 60])
    arguments = parser.parse_args()
    for where, address in (("SQLite", None), ("PostgreSQL", os.environ.get(POSTGRES_VARIABLE))):
        if where == "SQLite" or address:
            with tempfile.TemporaryDirectory() as folder, environment(Path(folder), address):
                for measured in measure(arguments.runs):
                    print(in_words(where, measured), flush=True)


@contextlib.contextmanager
def environment(folder: Path, address: str | None) -> Iterator[None]:
    """A home in a folder, whose instance is in a database where an address is given."""
    before = dict(os.environ)
    os.environ |= {
        "DAGSTER_HOME": str(folder / "dagster"),
        "SORT_ASSETS_RECORDINGS": str(folder / "recordings"),
        "SORT_ASSETS_STORE": str(folder / "store"),
        POSTGRES_VARIABLE: address or "",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def measure(numbers: list[int]) -> Iterator[Measured]:
    """Measure each number of runs that begin together, one after the other in the same instance."""
    # In a process of its own: whoever sets up waits for a database for seconds only, and runs wait for minutes.
    preparing = multiprocessing.get_context("fork").Process(target=_prepare, args=(max(numbers),))
    preparing.start()
    preparing.join()
    for number in numbers:
        yield _together(number)


def in_words(where: str, measured: Measured) -> str:
    """A line of the table."""
    failed = sum(measured.failures.values())
    return (
        f"{where}: {measured.runs} runs at once: {measured.runs - failed} succeeded, {failed} failed, "
        f"all after {measured.wall_s:.1f} s, slowest {measured.slowest_s:.1f} s, "
        f"CPU {measured.cpu_s:.1f} s = {measured.cpu_s / measured.wall_s:.1f} cores"
        f"{''.join(f'; {count} x {why}' for why, count in measured.failures.items())} "
        f"[load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores]"
    )


def _prepare(number: int) -> None:
    prepare_home()
    with open_instance() as instance:
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, number)
        instance.add_dynamic_partitions(PARTITIONS.name, [f"r{one}" for one in range(number)])


def _together(number: int) -> Measured:
    fork = multiprocessing.get_context("fork")
    barrier, queue = fork.Barrier(number + 1), fork.Queue()
    processes = [fork.Process(target=_run, args=(f"r{one}", barrier, queue)) for one in range(number)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for process in processes:
        process.start()
    barrier.wait(PATIENCE_S)
    start = time.perf_counter()
    ended = [queue.get(timeout=PATIENCE_S) for _ in processes]
    wall_s = time.perf_counter() - start
    for process in processes:
        process.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    failures = collections.Counter(why for _, why in ended if why)
    return Measured(number, wall_s, max(took_s for took_s, _ in ended), cpu_s, dict(failures))


def _run(partition: str, barrier: Any, queue: Any) -> None:
    barrier.wait(PATIENCE_S)
    start, why = time.perf_counter(), ""
    try:
        with dg.DagsterInstance.get() as instance:
            job = DEFINITIONS.resolve_job_def("tiny_runs")
            result = job.execute_in_process(instance=instance, partition_key=partition)
            claimed = instance.event_log_storage.claim_concurrency_slot(GPU_POOL, result.run_id, "again")
            instance.event_log_storage.free_concurrency_slots_for_run(result.run_id)
            record = instance.get_run_by_id(result.run_id)
            if record is None or record.status != dg.DagsterRunStatus.SUCCESS or not claimed.is_claimed:
                why = f"the run is {record.status.value if record else 'lost'}"
    except BaseException as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
    queue.put((time.perf_counter() - start, why))


if __name__ == "__main__":
    main()
