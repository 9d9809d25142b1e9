"""What all sorters that SpikeInterface runs have in common. A sorter's own class declares only what is special."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.base import EXCESS_SPIKES, UNITS_BEFORE_CURATION
from sort_assets.backends.inspected_recordings import inspect_once
from sort_assets.backends.nothing_found import no_units, nothing_to_sort, too_short
from sort_assets.backends.oom_schedule import (
    BESIDE_THE_SORT,
    CHUNK_DURATION,
    STAGES_BESIDE_THE_SORT,
    WORKERS,
    MemoryParameter,
    OomSchedule,
    chosen_by_shape,
    next_oom_params,
)
from sort_assets.backends.parameter_names import check_parameter_names
from sort_assets.backends.registry import registered_backends
from sort_assets.backends.shape import ShapeChoices, Shaped, values
from sort_assets.backends.sorter_run import SORTER_FOLDER, SPIKEINTERFACE_FOLDER, RunnableBackend, SorterRun
from sort_assets.checks.result import CheckResult, counted, raise_first_error
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.layers import deep_merge
from sort_assets.config.model import FILTER_STEPS
from sort_assets.errors import RecordingError, SortAssetsError, UnsortableRecordingError
from sort_assets.machine.cores import job_kwargs, resolve_n_jobs
from sort_assets.machine.cuda_check import inspect_gpu
from sort_assets.machine.preflight import inspect_machine
from sort_assets.machine.threads import compute_threads
from sort_assets.machine.versions import inspect_versions
from sort_assets.recordings.steps import reference_of_few

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

    from sort_assets.recordings.clear_spikes import ClearSpikes

_CANARY_FOLDER = "canary"
_MOSTLY = 0.5
_SCALED_EXECUTION = ("n_jobs", "chunk_duration_s")


class SpikeInterfaceBackend(RunnableBackend):
    """A sorter that `spikeinterface.sorters.run_sorter` runs.

    Attributes
    ----------
    own_defaults : Mapping[str, Any]
        Parameters whose default here differs from SpikeInterface's, each with its reason beside it.
    filter_off : Mapping[str, Any]
        Parameters that switch off the sorter's own band-pass; used when our recording is filtered.
    needs_probe : bool
        Whether the sorter needs channel locations.
    copies_recording : bool
        Whether the sorter writes the recording once more into its folder while it runs, so that the disk must have
        room for it.
    temporary_copy : str or None
        Name of that copy, or of one that it writes of recordings that have no `.dat`; removed when the sorter fails.
    memory_parameters : tuple of MemoryParameter
        The sorter's own parameters that drive its memory.
    threshold_field : str or None
        The configuration's field with the detection threshold, for remedies.
    negative_only : tuple of str or None
        The field that decides the sign of the peaks, and its value for both signs, of a sorter that takes negative
        peaks unless told otherwise.
    failure_rules, stages, log_name
        As in `RunnableBackend`.
    """

    writes_dat: ClassVar[bool] = True
    own_defaults: ClassVar[Mapping[str, Any]] = {}
    filter_off: ClassVar[Mapping[str, Any]] = {}
    needs_probe: ClassVar[bool] = True
    copies_recording: ClassVar[bool] = False
    temporary_copy: ClassVar[str | None] = None
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = ()
    threshold_field: ClassVar[str | None] = None
    negative_only: ClassVar[tuple[str, str] | None] = None

    @property
    def n_jobs(self) -> int:
        """Workers that this backend may use."""
        return resolve_n_jobs(self.config.execution.n_jobs)

    @property
    def library_threads(self) -> int:
        """Threads for torch and the BLAS libraries, in each worker of the sorter."""
        return self.n_jobs

    @property
    def job_kwargs(self) -> dict[str, Any]:
        """How SpikeInterface is to share work among workers."""
        return job_kwargs(self.config.execution)

    @property
    def recording_is_filtered(self) -> bool:
        """Whether `load_recording` takes the low frequencies out, so that the sorter need not."""
        recording = self.config.recording
        return recording.freq_min is not None or any(step in FILTER_STEPS for step in recording.preprocessing)

    def freeze_recording(self, rec_path: Path, folder: Path) -> SortingPipelineConfig:
        from sort_assets.recordings import freeze, open_recording

        raw = open_recording(rec_path, config=self.config.recording)
        return self.config.model_copy(update={"recording": freeze(raw, self.config.recording, folder, self.n_jobs)})

    def load_recording(self, rec_path: Path | BaseRecording) -> BaseRecording:
        from sort_assets.recordings import open_recording, prepare

        raw = open_recording(rec_path, config=self.config.recording) if isinstance(rec_path, Path) else rec_path
        return prepare(raw, self.config.recording, self.frozen_folder, self.n_jobs)

    def write_recording(self, recording: BaseRecording, dat_path: Path) -> None:
        from sort_assets.recordings.dat_file import write_dat

        write_dat(
            recording,
            dat_path,
            dtype=self.config.recording.dat_dtype,
            gain_to_uv=self.config.recording.dat_gain_to_uv,
            n_jobs=self.n_jobs,
            chunk_duration_s=self.config.execution.chunk_duration_s,
            progress=self.observer.writing,
        )

    def sort(
        self,
        recording: BaseRecording,
        rec_path: Path | None,
        recording_dat_path: Path | None,
        output_folder: Path,
    ) -> BaseSorting:
        self.check_ready()
        self.check_recording(recording, rec_path or recording_dat_path or Path("the recording"))
        if not recording.check_serializability("json"):
            raise RecordingError(
                "The recording is held in memory, and the sorter reads recordings from files.",
                remedy="Write it with write_recording, and sort what sort_assets.recordings.dat_file.read_dat opens.",
            )
        output_folder.mkdir(parents=True)
        try:
            results = self.preflight(recording, output_folder)
            self.observer.checked(results)
            raise_first_error(results)
            self._sort_canary(recording, output_folder)
            found = self._run(recording, output_folder, then=self._free_device)
        except UnsortableRecordingError as reason:
            self._free_device()
            return nothing_to_sort(self, recording, reason)
        return found if found.get_num_units() else nothing_to_sort(self, recording, no_units(self.name))

    def likely_causes(
        self, recording: BaseRecording, reason: UnsortableRecordingError, spikes: ClearSpikes
    ) -> Iterator[str]:
        """Why this sorter may have missed clear spikes, the likeliest first: each with its remedy, as a sentence."""
        yield from too_short(reason)
        # With groups, the reference was taken of all of them together, before they were sorted one by one.
        if self.config.recording.split_by is None and reference_of_few(recording, self.config.recording):
            channels = counted(recording.get_num_channels(), "channel")
            yield (
                f"recording.preprocessing takes a common reference of {channels}, and with it spikes that most of them "
                "see: leave common_reference out."
            )
        if self.negative_only is not None and spikes.negative_share < _MOSTLY:
            field, both = self.negative_only
            yield f"Most spikes go up, and {self.name} looks for those that go down: set {field} to {both}."
        if self.threshold_field is not None:
            yield f"The threshold may be too high for this recording: lower {self.threshold_field}."

    def preflight(self, recording: BaseRecording, output_folder: Path) -> list[CheckResult]:
        """Check the recording and the machine before the sorter starts.

        Parameters
        ----------
        recording : BaseRecording
            To be sorted.
        output_folder : Path
            Where the sorter is going to write.
        """
        reserve = int((self.config.execution.min_free_disk_gb or 0) * 1e9)
        return [
            *inspect_versions(self.name),
            *inspect_gpu(self.gpu),
            *self._inspect(recording),
            *inspect_machine(
                output_folder=self.work_folder or output_folder,
                expected_bytes=self.bytes_to_write(recording) + reserve,
                memory=self.memory_needed(recording),
                gpu=self.gpu,
                gpu_parts=self.gpu_parts,
            ),
        ]

    def look_ahead(self, recording: BaseRecording, rec_path: Path) -> None:
        self._inspect(recording)
        super().look_ahead(recording, rec_path)

    def _inspect(self, recording: BaseRecording) -> list[CheckResult]:
        return inspect_once(recording, self.batch_samples_for(recording), self.minimum_channels, self.needs_probe)

    def run_here(self, recording: BaseRecording, folder: Path) -> None:
        from spikeinterface.sorters import run_sorter

        params = self.sorter_params(recording)
        with compute_threads(self.library_threads):
            # The result is read where the device need not be held.
            run_sorter(
                self.name, self.sorter_input(recording), folder=folder, verbose=False, with_output=False, **params
            )

    def started_ahead(self, runs: int, dat_paths: Sequence[Path]) -> AbstractContextManager[None]:
        with_canary = runs if self.config.execution.canary_s is None else 2 * runs
        return super().started_ahead(with_canary, dat_paths)

    def _free_device(self) -> None:
        """Say that the device is free, unless the sorter ran inside this process, which then keeps some of it."""
        if self.config.execution.isolation == "process":
            self.device_is_free()

    def _run(
        self, recording: BaseRecording, output_folder: Path, then: Callable[[], None] = lambda: None
    ) -> BaseSorting:
        work = output_folder if self.work_folder is None else self.work_folder / output_folder.name
        work.mkdir(exist_ok=True)
        run = SorterRun(self, recording, output_folder, work)
        try:
            run.run()
        except BaseException:
            self._clean_up(work)
            with contextlib.suppress(OSError):  # what went wrong first is what people must hear
                _move_result(work, output_folder)
            raise
        then()
        self._clean_up(work)
        _move_result(work, output_folder)
        try:
            return _read_result(recording, output_folder)
        except Exception as error:
            raise run.classify_unreadable_result(traceback.format_exc()) from error

    def _sort_canary(self, recording: BaseRecording, output_folder: Path) -> None:
        """Sort the beginning first if configured: what can't work is known in minutes instead of hours."""
        canary_s = self.config.execution.canary_s
        if canary_s is None or canary_s >= recording.get_duration():
            return
        folder = output_folder / _CANARY_FOLDER
        folder.mkdir()
        beginning = recording.frame_slice(0, round(canary_s * recording.sampling_frequency))
        with contextlib.suppress(UnsortableRecordingError):  # it says nothing about the rest
            self._run(beginning, folder)
        shutil.rmtree(folder)

    def bytes_to_write(self, recording: BaseRecording) -> int:
        """A copy as float32, if any."""
        return 4 * recording.get_num_samples() * recording.get_num_channels() if self.copies_recording else 0

    def check_recording(self, recording: BaseRecording, rec_path: Path) -> None:
        if self.needs_probe:
            from sort_assets.recordings import require_probe

            require_probe(recording, rec_path)

    def effective_params(self, output_folder: Path) -> dict[str, Any]:
        noted = output_folder / SPIKEINTERFACE_FOLDER / "spikeinterface_params.json"
        if not noted.is_file():
            return {}
        return dict(json.loads(noted.read_text(encoding="utf-8"))["sorter_params"])

    def extract_waveforms(
        self,
        recording: BaseRecording,
        sorting: BaseSorting,
        waveforms_folder: Path,
        curation_folder: Path,
        rec_path: Path | None = None,
        rng: np.random.Generator | None = None,
    ) -> SortingAnalyzer:
        from sort_assets.metrics.analyzers import create_analyzer, cut_waveforms
        from sort_assets.recordings.clock import recording_clock

        waveform = self.config.waveform
        seed = waveform.seed if rng is None else int(rng.integers(2**31))
        sparse = waveform.sparse and recording.has_probe() and len(sorting.unit_ids) > 0
        analyzer = create_analyzer(
            sorting,
            recording,
            waveforms_folder,
            job_kwargs=self.job_kwargs,
            seed=seed,
            sparse=sparse,
            sparsity_kwargs={"method": "radius", "radius_um": waveform.radius_um} if sparse else None,
        )
        cut_waveforms(
            analyzer,
            max_spikes_per_unit=waveform.max_spikes_per_unit,
            ms_before=waveform.ms_before,
            ms_after=waveform.ms_after,
            seed=seed,
            job_kwargs=self.job_kwargs,
            joins=recording_clock(recording).joins,
        )
        curation_folder.mkdir(parents=True, exist_ok=True)
        listed = {"unit_ids": sorting.unit_ids.tolist()}
        (curation_folder / UNITS_BEFORE_CURATION).write_text(json.dumps(listed, indent=1), encoding="utf-8")
        return analyzer

    def scale_oom_params(self, factor: float, *, failure: Exception | None = None) -> bool:
        if not 0 < factor < 1:
            return False
        stage = failure.stage if isinstance(failure, SortAssetsError) else None
        schedule = BESIDE_THE_SORT if stage in STAGES_BESIDE_THE_SORT else self.oom_schedule(failure)
        reduced = next_oom_params(self.config, schedule, factor, chosen_by_shape(failure))
        if reduced is None:
            return False
        self.config = reduced
        return True

    def oom_schedule(self, failure: Exception | None) -> OomSchedule:
        """What to change after a failure of the sorter; by default what changes no result first, whatever failed."""
        return ((CHUNK_DURATION,), (WORKERS, *self.memory_parameters))

    def snapshot_oom_params(self) -> dict[str, Any]:
        values = copy.deepcopy(self.config.model_dump())
        execution = {name: values["execution"][name] for name in _SCALED_EXECUTION}
        return {"execution": execution, "sorter": {"params": values["sorter"]["params"]}}

    def restore_oom_params(self, snapshot: dict[str, Any]) -> None:
        values = self.config.model_dump()
        for section, fields in snapshot.items():
            values[section] |= copy.deepcopy(fields)
        self.config = SortingPipelineConfig.model_validate(values)

    def check_ready(self) -> None:
        entry = registered_backends().get(self.name)
        if entry is not None:
            entry.require_packages()
        if self.config.sorter.params:
            check_parameter_names(self.name, self.config.sorter.params, self.default_params())

    def default_params(self) -> dict[str, Any]:
        """The parameters that the sorter takes, with SpikeInterface's defaults."""
        from spikeinterface.sorters import get_default_sorter_params

        return dict(get_default_sorter_params(self.name))

    def shape_choices(self, recording: BaseRecording) -> ShapeChoices:
        return {**self._params_by_shape(recording), **self.input_choices(recording)}

    def _params_by_shape(self, recording: Shaped) -> ShapeChoices:
        chosen = self.config.sorter.params
        return {name: choice for name, choice in self.shape_defaults(recording).items() if name not in chosen}

    def shape_defaults(self, recording: Shaped) -> ShapeChoices:
        """What the recording's shape asks for, whether or not somebody chose otherwise; by default nothing."""
        return {}

    def input_choices(self, recording: BaseRecording) -> ShapeChoices:
        """What the recording's shape decides of `sorter_input`, under names that are no parameters of the sorter."""
        return {}

    def sorter_params(self, recording: BaseRecording) -> dict[str, Any]:
        """The parameters handed to `run_sorter`, merged key by key, also inside of options.

        In this order: SpikeInterface's defaults of those that are given here, no second filter, our defaults, what the
        recording's shape asks for, use of the machine, and what was configured.
        """
        ours: dict[str, Any] = {}
        for layer in (
            self.filter_off if self.recording_is_filtered else {},
            self.own_defaults,
            values(self._params_by_shape(recording)),
            self.machine_params(recording),
            self.config.sorter.params,
        ):
            ours = deep_merge(ours, layer)
        # SpikeInterface replaces a whole dictionary of options by what it is given.
        options = {name: value for name, value in self.default_params().items() if isinstance(value, dict)}
        return deep_merge({name: options[name] for name in ours if name in options}, ours)

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        """Parameters that say how to use the machine: device, workers, memory."""
        return {}

    def sorter_input(self, recording: BaseRecording) -> BaseRecording:
        """The recording that the sorter is given: by default unchanged."""
        return recording

    def _clean_up(self, output_folder: Path) -> None:
        """Remove what a failed sorter leaves behind; SpikeInterface cleans up only after success."""
        if self.temporary_copy is None:
            return
        copied = output_folder / SPIKEINTERFACE_FOLDER / SORTER_FOLDER / self.temporary_copy
        if copied.is_dir():
            shutil.rmtree(copied)
        else:
            copied.unlink(missing_ok=True)


def _move_result(work: Path, output_folder: Path) -> None:
    """Move what SpikeInterface and the sorter left to where it is to stay, perhaps on another disk."""
    if work != output_folder and (work / SPIKEINTERFACE_FOLDER).exists():
        shutil.move(work / SPIKEINTERFACE_FOLDER, output_folder / SPIKEINTERFACE_FOLDER)
        shutil.rmtree(work)


def _read_result(recording: BaseRecording, output_folder: Path) -> BaseSorting:
    from spikeinterface.core import NumpySorting
    from spikeinterface.curation import remove_excess_spikes
    from spikeinterface.sorters import read_sorter_folder

    sorting = read_sorter_folder(output_folder / SPIKEINTERFACE_FOLDER, register_recording=False, sorting_info=False)
    # In memory, because the output folder will be renamed when the result is published.
    found = NumpySorting.from_sorting(
        remove_excess_spikes(sorting, recording), with_metadata=True, copy_spike_vector=True
    )
    excess = sorting.to_spike_vector().size - found.to_spike_vector().size
    found.annotate(**{EXCESS_SPIKES: int(excess)})
    return found
