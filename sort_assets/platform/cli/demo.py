"""The demo: a small recording with known spikes goes all the way, through the job that the UI uses."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.handles import StoredCuration, StoredDelivery, StoredReport, StoredSorting

RECORDING = "demo/ground_truth.nwb"
PRESET = "kilosort4_few_channels"
DURATION_S = 10.0
NUM_CHANNELS = 16
NUM_UNITS = 8
SEED = 0
WELL_DETECTED = 0.8
LOG_NAME = "demo.log"
_TAG = "sort_assets/demo"
_POLL_S = 0.5
_STILL_RUNNING_S = 10


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes
    ----------
    recording : str
        The recording's key.
    units_found, units_true, units_well_detected : int
        Well detected: accuracy of at least 0.8.
    units_kept : int
        Of those found, by curation.
    mean_accuracy : float
        Over the true units, in [0, 1].
    delivered : list of str
        Files of the delivery.
    report : str
        The report's page.
    seconds : dict
        By asset.
    total_s : float
    """

    recording: str
    units_found: int
    units_true: int
    units_well_detected: int
    units_kept: int
    mean_accuracy: float
    delivered: list[str]
    report: str
    seconds: dict[str, float]
    total_s: float


class DemoFailedError(SortAssetsError):
    """The demo's run did not succeed."""


def run_demo(instance: dg.DagsterInstance, roots: Roots, say: Callable[[str], None]) -> DemoResult:
    """Write the recording, register it, sort it, and compare the result with the truth.

    Raises
    ------
    DemoFailedError
        When the run fails.
    """
    from spikeinterface.comparison import compare_sorter_to_ground_truth

    from sort_assets.testing.ground_truth import make_ground_truth
    from sort_assets.testing.nwb import write_nwb

    start = time.perf_counter()
    recording, truth = make_ground_truth(
        duration_s=DURATION_S, num_channels=NUM_CHANNELS, num_units=NUM_UNITS, seed=SEED
    )
    path = roots.recordings / RECORDING
    if not path.exists():
        say(f"Writing {DURATION_S:.0f} s of {NUM_CHANNELS} channels to {path}")
        _write_whole(path, lambda target: write_nwb(recording, target))
    (registered,) = register_recording(instance, path, roots)
    say(f"Registered as {registered.key}")
    seconds = _run_job(instance, registered.key, say)
    units = StoredSorting(roots, registered.key).load()
    comparison = compare_sorter_to_ground_truth(truth, units, exhaustive_gt=True)
    accuracy = comparison.get_performance()["accuracy"].astype(float)
    return DemoResult(
        recording=registered.key,
        units_found=len(units.unit_ids),
        units_true=NUM_UNITS,
        units_well_detected=int((accuracy >= WELL_DETECTED).sum()),
        units_kept=StoredCuration(roots, registered.key).details.num_kept,
        mean_accuracy=float(accuracy.mean()),
        delivered=[str(file) for file in StoredDelivery(roots, registered.key).load().values()],
        report=str(StoredReport(roots, registered.key).load()),
        seconds=seconds,
        total_s=time.perf_counter() - start,
    )


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    part.unlink(missing_ok=True)
    write(part)
    part.rename(path)


def _run_job(instance: dg.DagsterInstance, recording: str, say: Callable[[str], None]) -> dict[str, float]:
    """Run the job in a process of its own; its output goes to a file, and what people ask for is in the event log."""
    marker = uuid.uuid4().hex
    log_path = Path(instance.root_directory) / LOG_NAME
    config_path = log_path.with_suffix(".yaml")
    config_path.write_text(json.dumps({"resources": {"backend": {"config": {"preset": PRESET}}}}), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "dagster", "job", "execute", "-m", "sort_assets.definitions", "-j", "sort_recording"),
        *("--tags", json.dumps({"dagster/partition": recording, _TAG: marker})),
        *("-c", str(config_path)),
    ]
    seen: dict[str, str] = {}
    with log_path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as job:
        while job.poll() is None:
            time.sleep(_POLL_S)
            _tell_progress(instance, marker, seen, say)
    runs = instance.get_runs(filters=dg.RunsFilter(tags={_TAG: marker}), limit=1)
    if job.returncode != 0 or not runs:
        raise DemoFailedError(
            f"The demo's run failed{_failure_of(instance, runs).rstrip('.')}.",
            remedy=f"Its full output is in {log_path}; `sort-assets up` shows the run in the UI.",
        )
    return {
        stats.step_key: float(stats.end_time - stats.start_time)
        for stats in instance.get_run_step_stats(runs[0].run_id)
        if stats.start_time is not None and stats.end_time is not None
    }


def _tell_progress(instance: dg.DagsterInstance, marker: str, seen: dict[str, str], say: Callable[[str], None]) -> None:
    """Say which steps began or ended since the last time, and now and then that one goes on."""
    for run in instance.get_runs(filters=dg.RunsFilter(tags={_TAG: marker}), limit=1):
        for stats in instance.get_run_step_stats(run.run_id):
            if stats.step_key not in PIPELINE or stats.start_time is None:
                continue
            if stats.end_time is not None and stats.status is not None:
                news = f"{stats.status.value.lower()} after {stats.end_time - stats.start_time:.1f} s"
            else:
                seconds = int((time.time() - stats.start_time) // _STILL_RUNNING_S * _STILL_RUNNING_S)
                news = f"running for {seconds} s" if seconds else "started"
            if seen.get(stats.step_key) != news:
                seen[stats.step_key] = news
                say(f"  {stats.step_key}: {news}")


def _failure_of(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> str:
    for run in runs:
        for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = record.dagster_event
            failure = event.step_failure_data.user_failure_data if event else None
            if event and failure:
                return f" in {event.step_key}: {failure.description}"
    return ""
