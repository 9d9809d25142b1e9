"""The watch over a sorter that runs inside this process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spikeinterface.core import generate_recording

from sort_assets.backends import SorterBackend, create_backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.running.audit import AUDIT_LOG
from sort_assets.running.in_process import EXIT_HUNG, InProcessTerminator, active_log

SORTS = """
import sys, time
from pathlib import Path
from sort_assets.backends import create_backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SorterTimeoutError
from sort_assets.running.in_process import active_log
from spikeinterface.core import generate_recording

log, swallows = Path(sys.argv[1]), sys.argv[2] == "swallows"
recording = generate_recording(num_channels=4, durations=[60.0])
execution = {"sorter_inactivity_base_s": 0.5, "sorter_inactivity_per_min_s": 0}
execution["sorter_inactivity_in_process_grace_s"] = 1
backend = create_backend(SortingPipelineConfig.model_validate({"execution": execution}))
try:
    with active_log(log), backend._make_in_process_inactivity_watchdog(recording, sorter="kilosort4"):
        log.write_text("First clustering\\n")
        while True:
            try: time.sleep(600)
            except BaseException:
                if not swallows: raise
except SorterTimeoutError as error:
    print(error)
"""

RECORDING = generate_recording(num_channels=4, durations=[120.0])


def backend(**execution: Any) -> SorterBackend:
    return create_backend(SortingPipelineConfig.model_validate({"execution": execution}))


def test_a_hang_is_interrupted_and_reported_beside_the_log(tmp_path: Path) -> None:
    ended = _run(tmp_path / "sorter.log", "obeys")

    assert ended.returncode == 0, ended.stderr
    assert "'kilosort4' showed no sign of life" in ended.stdout
    assert '"tripped"' in (tmp_path / AUDIT_LOG).read_text()


def test_a_hang_that_does_not_obey_takes_its_process_along(tmp_path: Path) -> None:
    ended = _run(tmp_path / "sorter.log", "swallows")

    assert ended.returncode == EXIT_HUNG


def test_tolerance_and_grace_come_from_the_configuration(tmp_path: Path) -> None:
    chosen = backend(
        sorter_inactivity_base_s=100, sorter_inactivity_per_min_s=10, sorter_inactivity_in_process_grace_s=7
    )

    with active_log(tmp_path / "sorter.log"):
        watchdog = chosen._make_in_process_inactivity_watchdog(RECORDING, sorter="kilosort4")

    assert watchdog is not None
    assert watchdog.tolerance_s == 120
    assert watchdog.log_paths == (tmp_path / "sorter.log",)
    assert isinstance(watchdog.terminator, InProcessTerminator)
    assert watchdog.terminator.grace_s == 7


def test_without_an_active_log_nothing_is_watched() -> None:
    assert backend()._make_in_process_inactivity_watchdog(RECORDING, sorter="kilosort4") is None


@pytest.mark.parametrize(
    ("recording", "execution"),
    [(RECORDING, {"sorter_inactivity_timeout": False}), ("something of unknown duration", {})],
)
def test_without_a_tolerance_nothing_is_watched(recording: Any, execution: dict[str, Any], tmp_path: Path) -> None:
    with active_log(tmp_path / "sorter.log"):
        watchdog = backend(**execution)._make_in_process_inactivity_watchdog(recording, sorter="kilosort4")

    assert watchdog is None


def _run(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", SORTS, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
