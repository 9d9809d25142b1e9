"""The contract of every sorter. Other labs write backends against it: it changes only with care."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.config import SortingPipelineConfig
from sort_assets.machine.gpu_sensors import find_sensors
from sort_assets.machine.gpus import visible_gpu
from sort_assets.machine.preflight import NO_ESTIMATE, MemoryNeeded
from sort_assets.running.audit import AUDIT_LOG, AuditLog
from sort_assets.running.in_process import InProcessTerminator, active_log_path
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

    from sort_assets.backends.shape import ShapeChoices, Shaped
    from sort_assets.checks.result import CheckResult
    from sort_assets.running.progress import Progress

EXCESS_SPIKES = "excess_spikes"
"""Annotation of a sorting: how many spikes beyond the end of the recording were left out."""
UNSORTABLE = "unsortable"
"""Annotation of a sorting without units: why there was nothing to sort, as `SortAssetsError.to_dict` gives it."""
UNITS_BEFORE_CURATION = "units_before_curation.json"
"""File that `SorterBackend.extract_waveforms` writes: JSON with the list "unit_ids"."""


class Observer:
    """What a backend reports its progress to; this one ignores it."""

    def writing(self, fraction: float) -> None:
        """Called with the fraction of the `.dat` that is written, in [0, 1]."""

    def sorting(self, progress: Progress) -> None:
        """Called every few seconds with the progress of a sorter in a process of its own."""

    def checked(self, results: Sequence[CheckResult]) -> None:
        """Called with the results of the checks before the sorter starts."""


class SorterBackend(ABC):
    """One spike sorter, from raw file to waveforms.

    Parameters
    ----------
    config : SortingPipelineConfig
        Kept as `self.config`. Scaled parameters live there too: scaling replaces it by a changed copy, and that copy
        is what runs.

    Attributes
    ----------
    name : str
        The name under which the backend is registered.
    writes_dat : bool
        Whether `write_recording` writes the flat binary that `sort` then reads.
    uses_gpu : bool
        Whether the sorter can run on a CUDA device; if so, the platform leases one for it (`takes_gpu`).
    needs_probe : bool
        Whether the sorter needs channel locations.
    harmless_fields : frozenset of str
        Dotted fields of the configuration that `scale_oom_params` may change without changing what is found. What ran
        with other changes is marked as degraded.
    observer : Observer
        Receives the progress; the platform replaces it.
    frozen_folder : Path or None
        Set when a recording is opened with a configuration that `freeze_recording` returned: the folder it was given,
        wherever that is now.
    work_folder : Path or None
        An existing folder on a fast disk, in which the sorter may work; what it leaves there has to be moved to
        `output_folder` at the end of `sort`. None has it work in `output_folder`.
    device_is_free : callable
        To be called within `sort` as soon as nothing of the sorter uses the device any more, so that the next sort gets
        it while this one's result is read; a backend that does not call it keeps the device until `sort` returns.
    gpu_parts : int
        Of how many parts of a GPU the sorter has one, and may allocate only as much of its memory; 1 where it has all.
        More only for backends whose `memory_needed` tells how much of a GPU's memory a sort takes.
    """

    name: ClassVar[str]
    writes_dat: ClassVar[bool] = False
    uses_gpu: ClassVar[bool] = False
    needs_probe: ClassVar[bool] = False
    harmless_fields: ClassVar[frozenset[str]] = frozenset({"execution.n_jobs", "execution.chunk_duration_s"})

    def __init__(self, config: SortingPipelineConfig) -> None:
        self.config = config
        self.observer = Observer()
        self.frozen_folder: Path | None = None
        self.work_folder: Path | None = None
        self.device_is_free: Callable[[], None] = lambda: None
        self.gpu_parts = 1

    def continue_from(self, earlier: SorterBackend) -> None:
        """Go on with what the platform has given to a backend that was configured for the same recording before."""
        self.observer, self.work_folder = earlier.observer, earlier.work_folder

    @property
    def takes_gpu(self) -> bool:
        """Whether the sorter, as it is configured, runs on a CUDA device where there is one."""
        return self.uses_gpu

    @property
    def gpu(self) -> str | None:
        """The GPU that the sorter may use, as `CUDA_VISIBLE_DEVICES` names it; None when it runs on the CPU."""
        return visible_gpu() if self.takes_gpu and self.config.sorter.device != "cpu" else None

    @property
    def minimum_channels(self) -> int:
        """How many channels the sorter needs."""
        return 1

    @property
    def batch_samples(self) -> int | None:
        """How many samples the sorter reads at once; None where it does not learn noise and templates from batches."""
        return None

    def batch_samples_for(self, recording: BaseRecording) -> int | None:
        """The same for a recording, or a group of its channels; a sorter may take smaller batches of a short one."""
        return self.batch_samples

    def memory_needed(self, recording: Shaped, *, gpu: bool | None = None) -> MemoryNeeded:
        """What a sort of a recording of this shape needs at least; by default nothing is known.

        Parameters
        ----------
        recording : Shaped
            A recording, or the shape of one that is not opened: only what `Shaped` names may be asked of it.
        gpu : bool or None
            Whether it is to run on a GPU, perhaps of another machine; None asks for this process (`gpu`).
        """
        return NO_ESTIMATE

    def bytes_to_write(self, recording: BaseRecording) -> int:
        """What the sorter writes at most while it runs, beside its result; by default nothing is known of any."""
        return 0

    def shape_choices(self, recording: BaseRecording) -> ShapeChoices:
        """The sorter's parameters that the shape of a recording, or of a group of its channels, decides, and why.

        Only those that nobody set in `config.sorter.params`, and what is decided of the recording that the sorter is
        given. The default chooses nothing.
        """
        return {}

    def check_ready(self) -> None:  # noqa: B027
        """Check, before anything expensive, that the sorter is installed and accepts its parameters.

        The default accepts everything.

        Raises
        ------
        SorterNotInstalledError
            When a package that the sorter needs is missing.
        ConfigError
            When `config.sorter.params` has a parameter that the sorter does not know.
        """

    def check_recording(self, recording: BaseRecording, rec_path: Path) -> None:  # noqa: B027
        """Check, before anything expensive, that a recording (or a group of its channels) has what the sorter needs.

        The default accepts everything.

        Raises
        ------
        MissingProbeError
            When the sorter needs channel locations and they are missing or not unique.
        """

    def look_ahead(self, recording: BaseRecording, rec_path: Path) -> None:
        """Do of `sort` what needs no device; the platform calls this before it waits for one.

        The default checks the recording.

        Raises
        ------
        RecordingError
            As `check_recording`.
        """
        self.check_recording(recording, rec_path)

    def started_ahead(self, runs: int, dat_paths: Sequence[Path]) -> AbstractContextManager[None]:
        """Start, before there is a device, what `sort` will need; the platform enters this before it waits for one.

        What is started may not use the device: `CUDA_VISIBLE_DEVICES` names it only afterwards. The default starts
        nothing.

        Parameters
        ----------
        runs : int
            How often `sort` will be called.
        dat_paths : sequence of Path
            What will be sorted; empty for a backend that writes no `.dat`.

        Returns
        -------
        context manager
            At whose end nothing of it is left.
        """
        return nullcontext()

    def effective_params(self, output_folder: Path) -> dict[str, Any]:
        """The parameters that a finished sort really ran with, defaults included, as far as it tells; for people."""
        return {}

    def doubts(self, recording: BaseRecording, sorting: BaseSorting) -> list[str]:
        """What in a sort's result may be wrong although the sorter ended well, each as sentences with what to do.

        The default doubts nothing. The check `units_found` of the platform warns of them.
        """
        return []

    def freeze_recording(self, rec_path: Path, folder: Path) -> SortingPipelineConfig:
        """Estimate from the data what the configuration leaves open (bad channels, motion), and store it.

        The default estimates nothing.

        Parameters
        ----------
        rec_path : Path
            A file, or a folder of files to concatenate.
        folder : Path
            An existing folder for the estimates; it may be moved afterwards.

        Returns
        -------
        SortingPipelineConfig
            With it and `frozen_folder`, `load_recording` estimates nothing again.

        Raises
        ------
        RecordingError, ConfigError
            As `load_recording`.
        """
        return self.config

    @abstractmethod
    def load_recording(self, rec_path: Path | BaseRecording) -> BaseRecording:
        """Open a recording, lazily: nothing big is computed here.

        Parameters
        ----------
        rec_path : Path or BaseRecording
            A file, a folder of files to concatenate, or a recording that is already open.

        Returns
        -------
        BaseRecording
            Scaled to microvolts, filtered, with a single segment; float32, shape (samples, channels) when read.

        Raises
        ------
        RecordingError
            When the recording can't be opened or prepared as the configuration asks.
        """

    def write_recording(self, recording: BaseRecording, dat_path: Path) -> None:  # noqa: B027
        """Write the flat binary `.dat` with its description beside it, in one streaming pass.

        The default does nothing, for sorters that read recordings directly.

        Parameters
        ----------
        recording : BaseRecording
            What `load_recording` returned.
        dat_path : Path
            The file to write; its folder exists, the file does not.
        """

    @abstractmethod
    def sort(
        self,
        recording: BaseRecording,
        rec_path: Path | None,
        recording_dat_path: Path | None,
        output_folder: Path,
    ) -> BaseSorting:
        """Run the sorter.

        Parameters
        ----------
        recording : BaseRecording
            What is to be sorted: the memory-mapped view of the `.dat` where there is one, else the lazy recording.
        rec_path : Path or None
            The original file, for metadata.
        recording_dat_path : Path or None
            The `.dat`, or None for a backend that writes none.
        output_folder : Path
            Receives the sorter's own files; it does not exist yet.

        Returns
        -------
        BaseSorting
            Spike trains in samples of `recording`; it may hold no units. A recording in which there is nothing to sort
            (silent, noise alone, too short) is a result too: no units, and the annotation `UNSORTABLE`.

        Raises
        ------
        SorterEnvironmentError
            When the sorter or something it needs is not installed.
        RecordingError
            When the recording lacks what the sorter needs, channel locations for example.
        OutOfResourcesError
            When memory, disk or time gave out, or the sorter crashed.
        SorterFailedError
            When the sorter stops with an error that nothing recognises.
        """

    @abstractmethod
    def extract_waveforms(
        self,
        recording: BaseRecording,
        sorting: BaseSorting,
        waveforms_folder: Path,
        curation_folder: Path,
        rec_path: Path | None = None,
        rng: np.random.Generator | None = None,
    ) -> SortingAnalyzer:
        """Cut out waveforms around a random choice of spikes.

        Parameters
        ----------
        recording : BaseRecording
            The recording that was sorted.
        sorting : BaseSorting
            What `sort` returned.
        waveforms_folder : Path
            Where the analyzer is stored; it does not exist yet.
        curation_folder : Path
            Where the list of units before curation is written, as `UNITS_BEFORE_CURATION`; made if it is not there.
        rec_path : Path or None
            The original file, for metadata.
        rng : numpy.random.Generator or None
            Chooses the spikes; None takes the configured seed.

        Returns
        -------
        SortingAnalyzer
            With random spikes, waveforms, templates and noise levels, in microvolts.
        """

    def scale_oom_params(self, factor: float, *, failure: Exception | None = None) -> bool:
        """Lower the parameters that drive memory.

        Parameters
        ----------
        factor : float
            In (0, 1), how much of the present value to keep. Any other factor changes nothing.
        failure : Exception or None
            The classified failure, with its stage when known; it picks the parameters. None means the general ones.

        Returns
        -------
        bool
            Whether something changed. If not, trying again is pointless.
        """
        return False

    def snapshot_oom_params(self) -> dict[str, Any]:
        """An opaque copy of what `scale_oom_params` may change."""
        return {}

    def restore_oom_params(self, snapshot: dict[str, Any]) -> None:  # noqa: B027
        """Put back exactly what `snapshot_oom_params` returned, whatever happened in between."""

    def _resolve_inactivity_timeout_s(self, recording: BaseRecording) -> float | None:
        """Seconds of silence after which a sort of this recording counts as hung.

        The tolerance is ``min(base + per_minute * minutes, maximum)`` from `config.execution`.

        Returns
        -------
        float or None
            None when the watch is disabled or the duration can't be known.
        """
        execution = self.config.execution
        if not execution.sorter_inactivity_timeout:
            return None
        try:
            minutes = float(recording.get_total_duration()) / 60
        except (AttributeError, TypeError, ValueError):
            return None
        if not math.isfinite(minutes) or minutes < 0:
            return None
        tolerance_s = execution.sorter_inactivity_base_s + execution.sorter_inactivity_per_min_s * minutes
        if execution.sorter_inactivity_max_s is not None:
            tolerance_s = min(tolerance_s, execution.sorter_inactivity_max_s)
        return tolerance_s

    def _make_in_process_inactivity_watchdog(
        self, recording: BaseRecording, *, sorter: str
    ) -> LogInactivityWatchdog | None:
        """The watch over a sorter that runs in this process, on the log that `running.in_process.active_log` names.

        It interrupts the main thread, and ends the process if that does not help within the configured grace period.

        Parameters
        ----------
        recording : BaseRecording
            Its duration decides how long a silence is tolerated.
        sorter : str
            The sorter's name, for the message.

        Returns
        -------
        LogInactivityWatchdog or None
            A context manager around the sort; None when no log is active or no silence counts as too long.
        """
        log_path, tolerance_s = active_log_path(), self._resolve_inactivity_timeout_s(recording)
        if log_path is None or tolerance_s is None:
            return None
        audit = AuditLog(log_path.with_name(AUDIT_LOG))
        return LogInactivityWatchdog(
            log_path,
            tolerance_s,
            InProcessTerminator(self.config.execution.sorter_inactivity_in_process_grace_s, audit=audit),
            activity=ProcessActivity(os.getpid(), gpu=find_sensors(self.gpu)),
            sorter=sorter,
            audit=audit,
        )
