"""One run of a sorter: where it runs, what watches over it, and what its failure means."""

from __future__ import annotations

import importlib
import os
import subprocess
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.base import SorterBackend
from sort_assets.backends.failure_classification import classify
from sort_assets.backends.failure_rules import Evidence, FailureRule, read_error_trace
from sort_assets.backends.shape import dotted_field, values
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SortAssetsError
from sort_assets.machine.gpu_sensors import find_sensors
from sort_assets.machine.torch_build import torch_cuda_version
from sort_assets.running.ahead import ProcessesAhead, started_ahead
from sort_assets.running.audit import AUDIT_LOG, AuditLog
from sort_assets.running.in_process import InProcessTerminator, output_to_log
from sort_assets.running.job import OUTPUT_FILE, importable_name
from sort_assets.running.process import isolated
from sort_assets.running.progress import Stage, StageReader, read_ends, read_tail
from sort_assets.running.termination import ProcessGroupTerminator, Terminator
from sort_assets.running.watchdogs.base import Watchdogs
from sort_assets.running.watchdogs.sort_watchdogs import sort_watchdogs

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

SPIKEINTERFACE_FOLDER = "spikeinterface"
"""Folder in the output folder of a sort: SpikeInterface gives it to the sorter and reads the result from it."""
SORTER_FOLDER = "sorter_output"
"""Folder inside of it: the sorter's own files."""
_RECORDING_FILE = "recording.json"
_REPORT_EVERY_S = 5.0
_HEAD_BYTES = 2**28
_VMSTAT = Path("/proc/vmstat")


class RunnableBackend(SorterBackend):
    """A backend whose sorter a `SorterRun` runs, in a process of its own or inside this one.

    Attributes
    ----------
    failure_rules : tuple of FailureRule
        How its failures read, beside those that many sorters have in common.
    stages : tuple of Stage
        Its stages, as its log announces them.
    log_name : str or None
        The file, in its folder, that it logs to.
    imported_ahead : tuple of str
        Modules that its process imports before it has a device. Importing them must not start CUDA.
    ahead : ProcessesAhead or None
        Processes that wait for its next runs.
    """

    failure_rules: ClassVar[tuple[FailureRule, ...]] = ()
    stages: ClassVar[tuple[Stage, ...]] = ()
    log_name: ClassVar[str | None] = None
    imported_ahead: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: SortingPipelineConfig) -> None:
        super().__init__(config)
        self.ahead: ProcessesAhead | None = None

    def continue_from(self, earlier: SorterBackend) -> None:
        super().continue_from(earlier)
        if isinstance(earlier, RunnableBackend):
            self.ahead = earlier.ahead

    def look_ahead(self, recording: BaseRecording, rec_path: Path) -> None:
        super().look_ahead(recording, rec_path)
        if self.ahead is not None:  # who is not ready leaves the device to who is
            self.ahead.wait()

    def started_ahead(self, runs: int, dat_paths: Sequence[Path]) -> AbstractContextManager[None]:
        return self._started_ahead(runs, dat_paths)

    @contextmanager
    def _started_ahead(self, runs: int, dat_paths: Sequence[Path]) -> Iterator[None]:
        """Start the processes of the sorter: the first one now, each other one when the one before it begins."""
        if self.config.execution.isolation != "process":
            yield
            return
        arguments = {
            "backend": importable_name(type(self)),
            "modules": list(self.imported_ahead),
            "dat_paths": [str(path) for path in dat_paths],
        }
        with started_ahead(importable_name(prepare_job), arguments, runs) as self.ahead:
            yield

    @abstractmethod
    def run_here(self, recording: BaseRecording, folder: Path) -> None:
        """Run the sorter inside this process, unguarded.

        Parameters
        ----------
        recording : BaseRecording
            To be sorted.
        folder : Path
            For SpikeInterface; it does not exist yet. `spikeinterface.sorters.read_sorter_folder` reads the result.
        """


class SorterRun:
    """A sorter at work on a recording.

    Parameters
    ----------
    backend : RunnableBackend
        Whose configuration says where it runs and what is tolerated.
    recording : BaseRecording
        To be sorted; JSON can describe it.
    output_folder : Path
        An existing folder. It receives the output of the sorter's process and the watchdogs' audit log: what is known
        of a sort that was killed.
    work_folder : Path
        An existing folder, perhaps the same. It receives the folder of SpikeInterface.
    """

    def __init__(
        self, backend: RunnableBackend, recording: BaseRecording, output_folder: Path, work_folder: Path
    ) -> None:
        self._backend = backend
        self._recording = recording
        self._folder = output_folder
        self._work = work_folder
        self._output_path = output_folder / OUTPUT_FILE
        own_log = backend.log_name
        self._log_path = work_folder / SPIKEINTERFACE_FOLDER / SORTER_FOLDER / own_log if own_log else None
        self._audit = AuditLog(output_folder / AUDIT_LOG)
        self._stages = StageReader(self._log_path, backend.stages)
        self._next_report = 0.0

    def run(self) -> None:
        """Run the sorter to its end.

        Raises
        ------
        SortAssetsError
            The failure, classified; also when a watchdog ended the sorter.
        """
        kills = _oom_kills()
        try:
            if self._backend.config.execution.isolation == "process":
                self._in_its_own_process(kills)
            else:
                self._in_this_process(kills)
        except SortAssetsError as error:
            self._complete(error)
            raise

    def _in_its_own_process(self, kills: int) -> None:
        execution = self._backend.config.execution
        recording_path = self._folder / _RECORDING_FILE
        self._recording.dump_to_json(recording_path)
        arguments = {
            "backend": importable_name(type(self._backend)),
            "config": self._backend.config.model_dump(mode="json"),
            "recording_path": str(recording_path),
            "folder": str(self._work / SPIKEINTERFACE_FOLDER),
            "gpu_parts": self._backend.gpu_parts,
        }
        waiting = self._backend.ahead
        ahead = None if waiting is None else waiting.take()
        try:
            with isolated(
                importable_name(run_job), arguments, self._folder, grace_s=execution.terminate_grace_s, ahead=ahead
            ) as running:
                if waiting is not None:
                    waiting.start()  # the one after this
                terminator = ProcessGroupTerminator(running.process, execution.terminate_grace_s)
                tolerance_s = self._backend._resolve_inactivity_timeout_s(self._recording)
                with self._watchdogs(running.process.pid, terminator, tolerance_s):
                    outcome = running.wait(self._report_progress)
                    if outcome is None:
                        raise self._classified(self._last_words(running.process), kills, running.process.returncode)
                    if outcome.error is not None:
                        raise outcome.error
                    if outcome.traceback is not None:
                        raise self._classified(outcome.traceback, kills)
        finally:
            recording_path.unlink(missing_ok=True)

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        """What SpikeInterface noted of the sorter's error before the process ended without an outcome.

        A signal is the cause itself, whatever was noted.
        """
        return "" if process.returncode < 0 else read_error_trace(self._work / SPIKEINTERFACE_FOLDER)

    def _in_this_process(self, kills: int) -> None:
        backend = self._backend
        with output_to_log(self._output_path):
            silence = backend._make_in_process_inactivity_watchdog(self._recording, sorter=backend.name)
            if silence is not None:
                silence.logs_steadily = self._logs_steadily()
            grace_s = backend.config.execution.sorter_inactivity_in_process_grace_s
            terminator = InProcessTerminator(grace_s, audit=self._audit) if silence is None else silence.terminator
            with self._watchdogs(os.getpid(), terminator, None, logs=silence is None), silence or nullcontext():
                try:
                    backend.run_here(self._recording, self._work / SPIKEINTERFACE_FOLDER)
                except SortAssetsError:
                    raise
                except Exception as error:
                    raise self._classified(traceback.format_exc(), kills) from error

    def _watchdogs(
        self, pid: int, terminator: Terminator, tolerance_s: float | None, *, logs: bool = True
    ) -> Watchdogs:
        return sort_watchdogs(
            self._backend.config.execution,
            pid=pid,
            log_paths=[path for path in (self._output_path, self._log_path) if path is not None and logs],
            output_folder=self._work,
            tolerance_s=tolerance_s,
            terminator=terminator,
            audit=self._audit,
            gpu=self._backend.gpu,
            logs_steadily=self._logs_steadily(),
            sorter=self._backend.name,
        )

    def _logs_steadily(self) -> Callable[[], bool]:
        """Of a reader of its own, for a watchdog's thread."""
        return StageReader(self._log_path, self._backend.stages).logs_steadily

    @property
    def _device(self) -> str:
        gpu = self._backend.gpu
        chosen = self._backend.config.sorter.device == "cuda"
        found = gpu is not None and (chosen or (torch_cuda_version() is not None and find_sensors(gpu) is not None))
        return "cuda" if found else "cpu"

    def _report_progress(self) -> None:
        if time.monotonic() < self._next_report:
            return
        self._next_report = time.monotonic() + _REPORT_EVERY_S
        self._backend.observer.sorting(self._stages.progress(self._output_path))

    def classify_unreadable_result(self, text: str) -> SortAssetsError:
        """The failure of a sorter that ended well and left nothing that can be read.

        Parameters
        ----------
        text : str
            The traceback of reading it.
        """
        error = self._classified(text, _oom_kills())
        self._complete(error)
        return error

    def _classified(self, text: str, kills: int, exit_status: int | None = None) -> SortAssetsError:
        evidence = Evidence(
            text=text,
            log="\n".join(filter(None, (read_ends(self._log_path), read_tail(self._output_path)))),
            exit_status=exit_status,
            stage=self._stages.read(),
            oom_kills=_oom_kills() - kills,
            device=self._device,
        )
        return classify(evidence, sorter=self._backend.name, rules=self._backend.failure_rules)

    def _complete(self, error: SortAssetsError) -> None:
        """Add what a remedy of its kind needs to know about the recording."""
        error.stage = error.stage or self._stages.read()
        known: dict[str, Any] = {
            "sampling_frequency": float(self._recording.sampling_frequency),
            "channels": int(self._recording.get_num_channels()),
            "device": self._device,
        }
        if self._recording.has_probe():
            across = self._recording.get_channel_locations()[:, 0]
            known["probe_width_um"] = float(across.max() - across.min())
        # What takes less memory the next time begins from what ran this time.
        chosen = values(self._backend.shape_choices(self._recording))
        known |= {dotted_field(name): value for name, value in chosen.items() if isinstance(value, int | float)}
        error.diagnostics = {**known, **error.diagnostics}


def prepare_job(*, backend: str, modules: list[str], dat_paths: list[str]) -> None:
    """What the sorter's own process does while it waits for a device: all that needs none.

    Parameters
    ----------
    backend : str
        "module:Class" of the backend.
    modules : list of str
        To be imported.
    dat_paths : list of str
        Files whose beginning is brought into memory.
    """
    for path in dat_paths:
        with suppress(OSError, AttributeError), Path(path).open("rb") as file:  # macOS has no such advice
            os.posix_fadvise(file.fileno(), 0, _HEAD_BYTES, os.POSIX_FADV_WILLNEED)
    for module in ("spikeinterface.core", "spikeinterface.sorters", backend.partition(":")[0], *modules):
        importlib.import_module(module)


def run_job(*, backend: str, config: dict[str, Any], recording_path: str, folder: str, gpu_parts: int = 1) -> None:
    """What the sorter's own process does.

    Parameters
    ----------
    backend : str
        "module:Class" of the backend.
    config : dict
        Its configuration.
    recording_path : str
        The recording, as SpikeInterface's JSON.
    folder : str
        For `RunnableBackend.run_here`.
    gpu_parts : int
        As `SorterBackend.gpu_parts`.
    """
    from spikeinterface.core import load

    module, _, name = backend.partition(":")
    create: Callable[[SortingPipelineConfig], RunnableBackend] = getattr(importlib.import_module(module), name)
    created = create(SortingPipelineConfig.model_validate(config))
    created.gpu_parts = gpu_parts
    created.run_here(load(recording_path), Path(folder))


def _oom_kills() -> int:
    """How often the kernel's OOM killer has struck on this machine since it started."""
    if not _VMSTAT.exists():
        return 0
    counted = [line.split()[1] for line in _VMSTAT.read_text().splitlines() if line.startswith("oom_kill ")]
    return int(counted[0]) if counted else 0
