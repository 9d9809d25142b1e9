"""What all sorters that SpikeInterface runs have in common. A sorter's own module declares only what is special."""

from __future__ import annotations

import copy
import difflib
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.base import EXCESS_SPIKES, UNITS_BEFORE_CURATION, SorterBackend
from sort_assets.backends.registry import registered_backends
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.cores import resolve_n_jobs
from sort_assets.config.layers import deep_merge
from sort_assets.config.model import FILTER_STEPS
from sort_assets.errors import ConfigError, RecordingError, SorterFailedError

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

_EXCERPT_LINES = 25
_MISSPELT_SIMILARITY = 0.8
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PICKLE_SUFFIXES = (".pkl", ".pickle")


@dataclass(frozen=True)
class MemoryParameter:
    """A parameter that drives memory, and how far it may be lowered.

    Attributes
    ----------
    field : str
        Dotted path in the configuration: "sorter.params.batch_size", "execution.chunk_duration_s".
    default : int or float
        The value where the configuration does not set it; it also decides between whole numbers and fractions.
    floor : int or float
        Below this the result would suffer more than memory is saved.
    """

    field: str
    default: float
    floor: float


CHUNK_DURATION = MemoryParameter("execution.chunk_duration_s", default=1.0, floor=0.1)
"""Every worker holds one chunk and what is computed from it."""


class SpikeInterfaceBackend(SorterBackend):
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
        What `scale_oom_params` lowers.
    """

    writes_dat: ClassVar[bool] = True
    own_defaults: ClassVar[Mapping[str, Any]] = {}
    filter_off: ClassVar[Mapping[str, Any]] = {}
    needs_probe: ClassVar[bool] = True
    copies_recording: ClassVar[bool] = False
    temporary_copy: ClassVar[str | None] = None
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (CHUNK_DURATION,)

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
        return {
            "n_jobs": self.n_jobs,
            # Threads, not processes: the .dat is memory-mapped, and a pool of processes takes long to start and can
            # hang (SpikeInterface/spikeinterface#2689).
            "pool_engine": "thread",
            "chunk_duration": self.config.execution.chunk_duration_s,
            "progress_bar": False,
        }

    @property
    def recording_is_filtered(self) -> bool:
        """Whether `load_recording` takes the low frequencies out, so that the sorter need not."""
        recording = self.config.recording
        return recording.freq_min is not None or any(step in FILTER_STEPS for step in recording.preprocessing)

    def freeze_recording(self, rec_path: Path, folder: Path) -> SortingPipelineConfig:
        from sort_assets.recordings import freeze, open_recording

        raw = open_recording(rec_path, self.config.recording.stream)
        return self.config.model_copy(update={"recording": freeze(raw, self.config.recording, folder, self.n_jobs)})

    def load_recording(self, rec_path: Path | BaseRecording) -> BaseRecording:
        from sort_assets.recordings import open_recording, prepare

        raw = open_recording(rec_path, self.config.recording.stream) if isinstance(rec_path, Path) else rec_path
        return prepare(raw, self.config.recording, self.frozen_folder, self.n_jobs)

    def write_recording(self, recording: BaseRecording, dat_path: Path) -> None:
        from sort_assets.recordings.binary import write_dat

        write_dat(
            recording,
            dat_path,
            dtype=self.config.recording.dat_dtype,
            gain_to_uv=self.config.recording.dat_gain_to_uv,
            n_jobs=self.n_jobs,
            chunk_duration_s=self.config.execution.chunk_duration_s,
            progress=self.progress,
        )

    def sort(
        self,
        recording: BaseRecording,
        rec_path: Path | None,
        recording_dat_path: Path | None,
        output_folder: Path,
    ) -> BaseSorting:
        from spikeinterface.core import NumpySorting
        from spikeinterface.curation import remove_excess_spikes
        from spikeinterface.sorters import run_sorter
        from spikeinterface.sorters.utils import SpikeSortingError

        self.check_ready()
        self.check_recording(recording, rec_path or recording_dat_path or Path("the recording"))
        if not recording.check_serializability("json"):
            raise RecordingError(
                "The recording is held in memory, and the sorter reads recordings from files.",
                remedy="Write it with write_recording, and sort what sort_assets.recordings.binary.read_dat opens.",
            )
        params = self.sorter_params(recording)
        try:
            with compute_threads(self.library_threads):
                sorting = run_sorter(
                    self.name, self.sorter_input(recording), folder=output_folder, verbose=False, **params
                )
        except SpikeSortingError as error:
            raise self._sorter_failed(error) from error
        finally:
            self._clean_up(output_folder)
        # In memory, because the output folder is still going to be renamed when the result is published.
        found = NumpySorting.from_sorting(
            remove_excess_spikes(sorting, recording), with_metadata=True, copy_spike_vector=True
        )
        excess = sorting.to_spike_vector().size - found.to_spike_vector().size
        found.annotate(**{EXCESS_SPIKES: int(excess)})
        return found

    def check_recording(self, recording: BaseRecording, rec_path: Path) -> None:
        if self.needs_probe:
            from sort_assets.recordings import require_probe

            require_probe(recording, rec_path)

    def effective_params(self, output_folder: Path) -> dict[str, Any]:
        noted = output_folder / "spikeinterface_params.json"
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
        from spikeinterface.core import create_sorting_analyzer

        waveform = self.config.waveform
        seed = waveform.seed if rng is None else int(rng.integers(2**31))
        sparse = waveform.sparse and recording.has_probe() and len(sorting.unit_ids) > 0
        with warnings.catch_warnings():
            # True of a sorting in memory, and no loss: the analyzer's folder holds a copy of it.
            warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
            analyzer = create_sorting_analyzer(
                sorting,
                recording,
                format="binary_folder",
                folder=waveforms_folder,
                seed=seed,
                sparse=sparse,
                sparsity_kwargs={"method": "radius", "radius_um": waveform.radius_um} if sparse else None,
                return_in_uV=True,
                job_kwargs=self.job_kwargs,
            )
        # SpikeInterface notes where recording and sorting came from, as pickles where JSON can't hold it.
        for path in waveforms_folder.rglob("*"):
            if path.suffix in _PICKLE_SUFFIXES:
                path.unlink()
        analyzer.compute("random_spikes", max_spikes_per_unit=waveform.max_spikes_per_unit, seed=seed)
        analyzer.compute("waveforms", ms_before=waveform.ms_before, ms_after=waveform.ms_after, **self.job_kwargs)
        analyzer.compute("templates")
        analyzer.compute("noise_levels", random_slices_kwargs={"seed": seed}, **self.job_kwargs)
        curation_folder.mkdir(parents=True, exist_ok=True)
        listed = {"unit_ids": sorting.unit_ids.tolist()}
        (curation_folder / UNITS_BEFORE_CURATION).write_text(json.dumps(listed, indent=1), encoding="utf-8")
        return analyzer

    def scale_oom_params(self, factor: float, *, failure: Exception | None = None) -> bool:
        if not 0 < factor < 1:
            return False
        values = self.config.model_dump()
        changed = False
        for parameter in self.memory_parameters:
            *sections, name = parameter.field.split(".")
            section = values
            for part in sections:
                section = section.setdefault(part, {})
            present = section.get(name, parameter.default)
            lowered = type(parameter.default)(max(parameter.floor, present * factor))
            if lowered < present:
                section[name] = lowered
                changed = True
        if changed:
            self.config = SortingPipelineConfig.model_validate(values)
        return changed

    def snapshot_oom_params(self) -> dict[str, Any]:
        values = copy.deepcopy(self.config.model_dump())
        snapshot: dict[str, Any] = {}
        for parameter in self.memory_parameters:
            section, name, *_ = parameter.field.split(".")
            snapshot.setdefault(section, {})[name] = values[section][name]
        return snapshot

    def restore_oom_params(self, snapshot: dict[str, Any]) -> None:
        values = self.config.model_dump()
        for section, fields in snapshot.items():
            values[section] |= copy.deepcopy(fields)
        self.config = SortingPipelineConfig.model_validate(values)

    def check_ready(self) -> None:
        entry = registered_backends().get(self.name)
        if entry is not None:
            entry.require_packages()
        chosen = self.config.sorter.params
        if not chosen:
            return
        defaults = self.default_params()
        for parameter in chosen:
            if parameter not in defaults:
                close = difflib.get_close_matches(parameter, defaults, n=3)
                raise _unknown_parameter(self.name, parameter, close or sorted(defaults), exact=not close)
        for path, close_to in _misspelt_options(chosen, defaults):
            raise _unknown_parameter(self.name, path, [close_to], exact=False)

    def default_params(self) -> dict[str, Any]:
        """The parameters that the sorter takes, with SpikeInterface's defaults."""
        from spikeinterface.sorters import get_default_sorter_params

        return dict(get_default_sorter_params(self.name))

    def sorter_params(self, recording: BaseRecording) -> dict[str, Any]:
        """The parameters handed to `run_sorter`, merged key by key, also inside of options.

        In this order: SpikeInterface's defaults of those that are given here, no second filter, our defaults, use of
        the machine, and what was configured.
        """
        ours: dict[str, Any] = {}
        for layer in (
            self.filter_off if self.recording_is_filtered else {},
            self.own_defaults,
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
        """What the sorter is given of the recording: by default, all of it as it is."""
        return recording

    def _sorter_failed(self, error: Exception) -> SorterFailedError:
        trace = str(error).strip().splitlines()
        # SpikeInterface hands on the sorter's traceback as text; the line before its own closing words is the cause.
        causes = [line for line in trace if line and not line.startswith((" ", "Spike sorting", "Traceback"))]
        cause = causes[-1].strip() if causes else type(error).__name__
        return SorterFailedError(
            f"The sorter '{self.name}' stopped with an error: {cause}",
            remedy="Read the log excerpt; if parameters are to blame, change sorter.params and run again.",
            log_excerpt="\n".join(trace[-_EXCERPT_LINES:]),
        )

    def _clean_up(self, output_folder: Path) -> None:
        """Remove what a failed sorter leaves behind; SpikeInterface cleans up only after success."""
        if self.temporary_copy is None:
            return
        copied = output_folder / "sorter_output" / self.temporary_copy
        if copied.is_dir():
            shutil.rmtree(copied)
        else:
            copied.unlink(missing_ok=True)


@contextmanager
def compute_threads(threads: int) -> Iterator[None]:
    """Limit torch, the BLAS libraries and OpenMP to `threads` threads, and put back what was set before.

    Two torch threads beside another busy process can be many times slower than one, so the count is never left to
    chance.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    # For libraries that are loaded only inside, such as the OpenMP of scikit-learn: they read the environment then.
    environment = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _misspelt_options(
    chosen: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, str]]:
    """Unknown keys inside of options that look much like a known one, and that one.

    Options are handed on as keyword arguments to functions with more of them than SpikeInterface lists as defaults,
    so that a key is not wrong for being unknown.
    """
    for name, value in chosen.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            for key in value:
                close = [] if key in default else difflib.get_close_matches(key, default, 1, _MISSPELT_SIMILARITY)
                if close:
                    yield f"{prefix}{name}.{key}", close[0]
            yield from _misspelt_options(value, default, f"{prefix}{name}.")


def _unknown_parameter(sorter: str, parameter: str, names: Iterable[str], *, exact: bool) -> ConfigError:
    return ConfigError(
        f"sorter.params.{parameter}: {sorter} has no such parameter.",
        remedy=f"Use one of: {', '.join(names)}." if exact else f"Did you mean {' or '.join(names)}?",
    )
