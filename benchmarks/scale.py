"""What the platform's own questions cost in a large lab: a tick of the sensor, `status`, the digest, the summary.

    python -m benchmarks.bench scale

Known recordings are files of one byte that are said to be registered, which a scan never opens; new ones are NWB files
of 4 channels and half a second, which a first tick sees and a second one reads and registers. Results are manifests
without files, with the configuration and the checks that real ones have. Runs and materializations are rows of
Dagster's SQLite databases, copied with other keys: Dagster would take minutes to make them. Figures are medians, with
CPU seconds beside the wall time, which on a busy machine measures the others.
"""

import json
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from benchmarks.rows import Row, Size, at_most
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.settings import Roots
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.folder_report import report_folder
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.scanner import WITHOUT_LIMITS, RecordingScanner
from sort_assets.platform.arrivals.tick import summarize
from sort_assets.platform.automation.digest import make_digest
from sort_assets.platform.automation.status import recording_statuses, unregistered_statuses
from sort_assets.platform.execution.home import open_instance, prepare_home
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.partitions import PARTITION_TAG, RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_results import summary_table
from sort_assets.platform.pipeline.summary_cache import FILE_NAME, units_summary
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.layout import CURRENT, MANIFEST_NAME
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb

KNOWN: dict[Size, int] = {"small": 200, "usual": 50_000, "full": 50_000}
NEW: dict[Size, int] = {"small": 1, "usual": 10, "full": 10}
SORTED: dict[Size, int] = {"small": 20, "usual": 5_000, "full": 5_000}
REPEATS: dict[Size, int] = {"small": 1, "usual": 9, "full": 9}
SORTED_TODAY = 50
QUIET_S = 61.0
_PER_FOLDER = 1000
_CALM_S = 11.0
"""Summaries of recordings that changed more recently are not kept."""
_OBSERVED = ("raw_recording", "recording_settings", "sorter_settings", "waveform_settings", "session_facts")
_CHECKS = [
    {"name": f"check_{index}", "passed": index > 0, "severity": "WARN", "description": "3.2 % of 1200 intervals."}
    for index in range(4)
]
_DETAILS = {"num_units": 250, "num_kept": 180, "duration_s": 3600.0, "channels": 384, "checks": _CHECKS}
_NAME = "20260101T000000000-0123abcd"


@dataclass(frozen=True)
class Took:
    """How long something took."""

    wall_s: float
    cpu_s: float


def rows(size: Size) -> Iterator[Row]:
    """The rows of the table."""
    before = {name: os.environ.get(name) for name in ("DAGSTER_HOME", "SORT_ASSETS_RECORDINGS", "SORT_ASSETS_STORE")}
    try:
        for part in (_arrival_rows, _result_rows):
            with tempfile.TemporaryDirectory(prefix="sort_assets-scale-") as temporary:
                folder = Path(temporary)
                os.environ["DAGSTER_HOME"] = str(folder / "dagster")
                os.environ["SORT_ASSETS_RECORDINGS"] = str(folder / "recordings")
                os.environ["SORT_ASSETS_STORE"] = str(folder / "store")
                yield from part(size, prepare_home())
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _arrival_rows(size: Size, roots: Roots) -> Iterator[Row]:
    num_known, num_new = KNOWN[size], NEW[size]
    catalog, reader = RecordingCatalog(roots.store), HeaderReader()
    reader.prepare(60.0)
    now, tick = 1e6, 0
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    small = write_nwb(recording, roots.recordings.parent / "small.nwb")
    with open_instance() as instance:
        _register_known(instance, roots, catalog, reader, num_known)
        scanner = RecordingScanner(instance, roots, reader, sensor="new_recordings", clock=lambda: now)

        def scan() -> None:
            """What a tick of `new_recordings` does."""
            nonlocal tick
            result = scanner.tick(tick)
            list(summarize(result, catalog))
            report_folder(instance, roots, catalog)
            tick = result.tick

        scan()
        nothing = [_measure(scan) for _ in range(REPEATS[size])]
        seen, registered = [], []
        for round_ in range(REPEATS[size]):
            for index in range(num_new):
                shutil.copy(small, roots.recordings / f"new{round_:02d}_{index:02d}.nwb")
            seen.append(_measure(scan))
            now += QUIET_S
            registered.append(_measure(scan))
    reader.close()
    over = f"sensor tick over {num_known} known recordings"
    yield from _rows(f"{over}, {num_new} new ones", seen, 1.0)
    yield from _rows(f"{over}, nothing new", nothing)
    yield from _rows(f"{over}, {num_new} read and registered", registered)


def _register_known(
    instance: dg.DagsterInstance, roots: Roots, catalog: RecordingCatalog, reader: HeaderReader, number: int
) -> None:
    for index in range(number):
        path = roots.recordings / f"day{index // _PER_FOLDER:03d}" / f"{index:06d}.nwb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    RecordingScanner(instance, roots, reader, sensor="", limits=WITHOUT_LIMITS, clock=lambda: 1e6).tick(0)
    entries = catalog.all().values()
    catalog.put(*(replace(one, state=State.REGISTERED, read_stamp=one.stamp, fingerprint="x") for one in entries))
    keys = {one.path: str(RecordingKey(one.path)) for one in entries}
    catalog.put_partitions(*(CatalogPartition(key, path, dict.fromkeys(_OBSERVED, "x")) for path, key in keys.items()))
    instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, list(keys.values()))


def _result_rows(size: Size, roots: Roots) -> Iterator[Row]:
    number, store = SORTED[size], Store(roots.store)
    keys = [f"rig{index % 7}~{index:05d}.nwb" for index in range(number)]
    with open_instance() as instance:
        paths = {key: RecordingKey.parse(key).path for key in keys}
        catalog = RecordingCatalog(roots.store)
        catalog.put(*(CatalogEntry(path, State.REGISTERED, fingerprint="x") for path in paths.values()))
        catalog.put_partitions(*(CatalogPartition(key, path) for key, path in paths.items()))
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, keys)
        _report_materializations(instance, keys)
        for key in keys[:SORTED_TODAY]:  # the digest reads runs as a whole
            run = dg.DagsterRun("sort_recording", tags={PARTITION_TAG: key}, status=dg.DagsterRunStatus.SUCCESS)
            instance.add_run(run)
        _write_results(store, keys)
        if size != "small":
            time.sleep(_CALM_S)
        since = datetime.now(UTC) - timedelta(days=1)

        def show_status() -> None:
            """What `sort-assets status --json` does once it is loaded."""
            statuses = [*recording_statuses(instance, store), *unregistered_statuses(store)]
            json.dumps([one.to_dict() for one in statuses])

        def digest() -> None:
            _ = make_digest(instance, store, since).message

        def summarize_all() -> None:
            summary_table(units_summary(store))

        summary_table({})  # imports pandas
        of = f"of {number} recordings"
        for name, action in {"status": show_status, "digest": digest, "summary": summarize_all}.items():
            _home().joinpath(FILE_NAME).unlink(missing_ok=True)
            first = _measure(action)
            yield from _rows(f"{name} {of}", [_measure(action) for _ in range(REPEATS[size])], 2.0)
            yield from _rows(f"{name} {of}, the first time", [first])


def _home() -> Path:
    return Path(os.environ["DAGSTER_HOME"])


def _write_results(store: Store, keys: list[str]) -> None:
    """All results of each recording, nothing but manifests."""
    config = SortingPipelineConfig().model_dump(mode="json")
    for asset in PIPELINE:
        with store.stage(keys[0], asset, run_id="0123abcd") as staging:
            staging.publish(data_version="v", config=config, config_sources={}, inputs={}, details=Details(**_DETAILS))
        manifest = (store.asset_folder(keys[0], asset) / CURRENT / MANIFEST_NAME).read_bytes()
        for key in keys[1:]:
            folder = store.asset_folder(key, asset)
            (folder / _NAME).mkdir(parents=True)
            (folder / _NAME / MANIFEST_NAME).write_bytes(manifest)
            (folder / CURRENT).symlink_to(_NAME)


def _report_materializations(instance: dg.DagsterInstance, keys: list[str]) -> None:
    """A materialization of each asset of each recording, and an old run of each recording."""
    first = keys[0]
    for asset in PIPELINE:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=first))
    old = dg.DagsterRun("sort_recording", tags={PARTITION_TAG: first}, status=dg.DagsterRunStatus.SUCCESS)
    instance.add_run(old)
    runs = _home() / "history" / "runs.db"
    columns = "snapshot_id, pipeline_name, mode, status, run_body, start_time, end_time"
    with closing(sqlite3.connect(runs)) as connection, connection:
        connection.executemany(
            f"INSERT INTO runs (run_id, partition, create_timestamp, update_timestamp, {columns})"
            f" SELECT ?, ?, '2026-01-01', '2026-01-01', {columns} FROM runs WHERE run_id = ?",
            [(f"run of {key}", key, old.run_id) for key in keys[1:]],
        )
        connection.executemany(
            "INSERT INTO run_tags (run_id, key, value) VALUES (?, ?, ?)",
            [(f"run of {key}", PARTITION_TAG, key) for key in keys[1:]],
        )
    columns = "run_id, event, dagster_event_type, timestamp, step_key, asset_key"
    with closing(sqlite3.connect(runs.with_name("runs") / "index.db")) as connection, connection:
        events = connection.execute(
            f"SELECT {columns} FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchall()
        connection.executemany(
            f"INSERT INTO event_logs (partition, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(key, *event) for key in keys[1:] for event in events],
        )


def _measure(action: Callable[[], None]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def _rows(name: str, took: list[Took], limit_s: float | None = None) -> Iterator[Row]:
    wall_s = statistics.median(one.wall_s for one in took)
    cpu_s = statistics.median(one.cpu_s for one in took)
    lowest = min(one.wall_s for one in took)
    times = f"median of {len(took)}" if len(took) > 1 else "once"
    note = f"{times}: CPU {cpu_s:.2f} s; quickest {lowest:.2f} s"
    yield Row(name, wall_s, "s", None if limit_s is None else at_most(limit_s), note)
