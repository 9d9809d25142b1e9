"""What the platform costs beside the sorter: a small recording, with a sorter that takes no time, under `up`.

    python -m benchmarks.bench fixed_overhead

The seconds of a run are those between its events: from its creation until its worker starts, until the first step, in
the steps, between them, and from the last one to its end. The steps do their usual work on 5 s of 16 channels. Memory
is the growth of the sum of the proportional set sizes (PSS) of all processes of `up`, so that what several of them
share counts once.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil

from benchmarks.rows import Row, Size, at_most
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.backends import threshold_sorter
from sort_assets_tests.fixtures.graphql import WebServer
from sort_assets_tests.fixtures.home import Home, make_home
from sort_assets_tests.fixtures.servers import up

RUNS: dict[Size, int] = {"small": 1, "usual": 3, "full": 9}
IDLE_S: dict[Size, float] = {"small": 2, "usual": 90, "full": 300}
SETTLED_S: dict[Size, float] = {"small": 1, "usual": 30, "full": 60}
CONFIG = {"resources": {"backend": {"config": {"sorter": {"name": "threshold"}, "execution": {"n_jobs": 1}}}}}
PATIENCE_S = 300.0
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Seconds:
    """Where the time of a run went."""

    until_worker: float
    until_first_step: float
    in_steps: float
    between_steps: float
    to_end: float

    @property
    def outside_of_steps(self) -> float:
        return self.until_worker + self.until_first_step + self.between_steps + self.to_end


def rows(size: Size) -> Iterator[Row]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory(prefix="sort_assets-overhead-") as temporary:
        folder = Path(temporary)
        home = make_home(folder / "home")
        recording, _ = make_ground_truth(duration_s=5.0)
        source = write_nwb(recording, folder / "recording.nwb")
        with up(home, folder / "up.log", python_path=_installed_sorter(folder)) as (server, servers):
            runs = [_run(home, server, home.register(home.link(source, f"{n}.nwb"))) for n in range(RUNS[size] + 1)]
            yield from _overhead(runs[1:], first=runs[0])
            tree = psutil.Process(servers.pid)
            yield _waiting(home, server, home.register(home.link(source, "waits.nwb")), tree)
            time.sleep(SETTLED_S[size])
            yield from _idle(tree, IDLE_S[size])


def _installed_sorter(folder: Path) -> Path:
    """A folder for PYTHONPATH with the package of a sorter that looks for crossings of a threshold, in milliseconds."""
    packages = folder / "site-packages"
    info = packages / "threshold_sorter-1.0.dist-info"
    info.mkdir(parents=True)
    source = Path(threshold_sorter.__file__)
    (packages / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: threshold-sorter\nVersion: 1.0\n", encoding="utf-8")
    target = "threshold_sorter:ThresholdBackend"
    (info / "entry_points.txt").write_text(f"[sort_assets.backends]\nthreshold = {target}\n", encoding="utf-8")
    return packages


def _launch(server: WebServer, key: str) -> str:
    launched = server.launch("sort_recording", key, CONFIG)
    if "run" not in launched:
        raise RuntimeError(f"The run of {key} was not launched: {launched}")
    return str(launched["run"]["runId"])


def _run(home: Home, server: WebServer, key: str) -> Seconds:
    run_id = _launch(server, key)
    status = server.wait_for(run_id, PATIENCE_S)
    with home.instance() as instance:
        if status != "SUCCESS":
            failed = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            raise RuntimeError(f"The run of {key} ended as {status}: {[entry.message for entry in failed]}")
        record = instance.get_run_record_by_id(run_id)
        stats = instance.get_run_step_stats(run_id)
    assert record is not None
    assert record.start_time is not None
    assert record.end_time is not None
    steps = sorted((one.start_time, one.end_time) for one in stats if one.start_time and one.end_time)
    if len(steps) < len(PIPELINE):
        raise RuntimeError(f"Only {len(steps)} steps of {key} have ended.")
    first, last = steps[0][0], max(end for _, end in steps)
    busy = _covered(steps)
    return Seconds(
        until_worker=record.start_time - record.create_timestamp.timestamp(),
        until_first_step=first - record.start_time,
        in_steps=busy,
        between_steps=last - first - busy,
        to_end=record.end_time - last,
    )


def _covered(spans: list[tuple[float, float]]) -> float:
    """The time in which at least one of these spans is going on; they are sorted."""
    covered, end = 0.0, 0.0
    for one_start, one_end in spans:
        covered += max(0.0, one_end - max(one_start, end))
        end = max(end, one_end)
    return covered


def _overhead(runs: list[Seconds], first: Seconds) -> Iterator[Row]:
    many = f"median of {len(runs)} runs; the first one after the start of `up`: {first.outside_of_steps:.1f} s"
    outside_s = statistics.median(run.outside_of_steps for run in runs)
    yield Row("overhead per recording, outside of its steps", outside_s, "s", at_most(8), many)
    for part, name in (
        ("until_worker", "until the run's worker starts"),
        ("until_first_step", "from there to the first step"),
        ("between_steps", "between steps"),
        ("to_end", "from the last step to the end of the run"),
    ):
        yield Row(f"of it {name}", statistics.median(getattr(run, part) for run in runs), "s")
    in_steps_s = statistics.median(run.in_steps for run in runs)
    yield Row(
        "beside it, in steps, on 5 s of 16 channels", in_steps_s, "s", note="their work, and the sorter's process"
    )


def _waiting(home: Home, server: WebServer, key: str, tree: psutil.Process) -> Row:
    """The memory of a run whose sort waits for a GPU that never becomes free, until it is terminated."""
    with home.instance() as instance:
        slots = instance.event_log_storage.get_concurrency_info(GPU_POOL).slot_count
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, 0)
        before_mb = _pss_mb(tree)
        run_id = _launch(server, key)
        deadline = time.monotonic() + PATIENCE_S
        while not instance.event_log_storage.get_concurrency_info(GPU_POOL).pending_steps:
            if time.monotonic() > deadline:
                raise RuntimeError("The run never came to its sort.")
            time.sleep(_LOOK_EVERY_S)
        time.sleep(5 * _LOOK_EVERY_S)
        grown_mb = _pss_mb(tree) - before_mb
        server.terminate(run_id)
        server.wait_for(run_id, PATIENCE_S)
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, slots)
    note = f"`up` without a run: {before_mb:.0f} MB in {len(_living(tree))} processes"
    return Row("memory of a run that waits for a GPU", grown_mb, "MB", at_most(150), note)


def _idle(tree: psutil.Process, duration_s: float) -> Iterator[Row]:
    before, begin, code_servers = _cpu_s(tree), time.monotonic(), set(_code_servers(tree))
    started: set[int] = set()
    while (left := begin + duration_s - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_EVERY_S))
        started |= set(_code_servers(tree)) - code_servers
    after, took_s = _cpu_s(tree), time.monotonic() - begin
    used = {name: used_s - before.get(name, 0.0) for name, used_s in after.items()}
    parts = ", ".join(f"{name} {100 * used_s / took_s:.2f}" for (_, name), used_s in sorted(used.items()) if used_s)
    yield Row("CPU of `up` while nothing happens", 100 * sum(used.values()) / took_s, "% of a core", at_most(1), parts)
    yield Row("code servers started meanwhile", len(started), f"in {took_s:.0f} s", at_most(0))


def _living(tree: psutil.Process) -> list[psutil.Process]:
    return [tree, *tree.children(recursive=True)]


def _code_servers(tree: psutil.Process) -> Iterator[int]:
    for process in _living(tree):
        with contextlib.suppress(psutil.Error):
            if "grpc" in process.cmdline():
                yield process.pid


def _pss_mb(tree: psutil.Process) -> float:
    total = 0
    for process in _living(tree):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


def _cpu_s(tree: psutil.Process) -> dict[tuple[int, str], float]:
    """CPU seconds of each process, with those of its children that have ended, by its id and name."""
    found = {}
    for process in _living(tree):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid, _name(process.cmdline())] = (
                times.user + times.system + times.children_user + times.children_system
            )
    return found


def _name(words: list[str]) -> str:
    line = " ".join(words)
    for part, name in (
        ("execution.webserver", "webserver"),
        ("_daemon", "daemon"),
        ("execution.daemon", "daemon"),
        ("code-server", "code server"),
        (" grpc ", "its code"),
        ("forkserver", "fork server"),
        ("resource_tracker", "resource tracker"),
    ):
        if part in line:
            return name
    return "up" if "up" in words else Path(words[0] if words else "?").name
