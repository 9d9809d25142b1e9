"""What all sorters that SpikeInterface runs have in common. A sorter's own module declares only what is special."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.base import SorterBackend
from sort_assets.backends.registry import registered_backends
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.cores import resolve_n_jobs
from sort_assets.errors import ConfigError, SorterFailedError, SorterNotInstalledError

if TYPE_CHECKING:
    import numpy as np
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

_EXCERPT_LINES = 25
UNITS_BEFORE_CURATION = "units_before_curation.json"


@dataclass(frozen=True)
class MemoryParameter:
    """A parameter that drives memory, and how far it may be lowered.

    Attributes
    ----------
    field : str
        Dotted path in the configuration: "sorter.params.batch_size", "execution.chunk_duration_s".
    default : float
        The value where the configuration does not set it.
    floor : float
        Below this the result would suffer more than memory is saved.
    """

    field: str
    default: float
    floor: float


class SpikeInterfaceBackend(SorterBackend):
    """A sorter that `spikeinterface.sorters.run_sorter` runs.

    Attributes
    ----------
    own_defaults : Mapping[str, Any]
        Parameters whose default here differs from SpikeInterface's, each with its reason beside it.
    needs_probe : bool
        Whether the sorter needs channel locations.
    memory_parameters : tuple of MemoryParameter
        What `scale_oom_params` lowers.
    """

    writes_dat: ClassVar[bool] = True
    own_defaults: ClassVar[Mapping[str, Any]] = {}
    needs_probe: ClassVar[bool] = True
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        MemoryParameter("execution.chunk_duration_s", default=1.0, floor=0.1),
    )

    @property
    def n_jobs(self) -> int:
        """Workers and threads that this backend may use."""
        return resolve_n_jobs(self.config.execution.n_jobs)

    def freeze_recording(self, rec_path: Path, folder: Path) -> SortingPipelineConfig:
        from sort_assets.recordings import freeze, open_recording

        raw = open_recording(rec_path, self.config.recording.stream)
        return self.config.model_copy(update={"recording": freeze(raw, self.config.recording, folder)})

    def load_recording(self, rec_path: Path | BaseRecording) -> BaseRecording:
        from sort_assets.recordings import open_recording, prepare

        raw = open_recording(rec_path, self.config.recording.stream) if isinstance(rec_path, Path) else rec_path
        return prepare(raw, self.config.recording, self.frozen_folder)

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
        if self.needs_probe:
            from sort_assets.recordings import require_probe

            require_probe(recording, rec_path or recording_dat_path)
        params = self.sorter_params(recording)
        try:
            with compute_threads(self.n_jobs):
                sorting = run_sorter(self.name, recording, folder=output_folder, verbose=False, **params)
        except SpikeSortingError as error:
            raise self._sorter_failed(error, output_folder) from error
        finally:
            self._clean_up(output_folder)
        # In memory, because the output folder is still going to be renamed when the result is published.
        found = NumpySorting.from_sorting(sorting, with_metadata=True, copy_spike_vector=True)
        return remove_excess_spikes(found, recording)

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
        # Threads, not processes: the .dat is memory-mapped, and a pool of processes takes longer to start than
        # the extraction (and can hang: SpikeInterface/spikeinterface#2689).
        jobs: dict[str, Any] = {
            "n_jobs": self.n_jobs,
            "pool_engine": "thread",
            "chunk_duration": self.config.execution.chunk_duration_s,
            "progress_bar": False,
        }
        sparse = waveform.sparse and recording.has_probe() and len(sorting.unit_ids) > 0
        analyzer = create_sorting_analyzer(
            sorting,
            recording,
            format="binary_folder",
            folder=waveforms_folder,
            seed=seed,
            sparse=sparse,
            sparsity_kwargs={"method": "radius", "radius_um": waveform.radius_um} if sparse else None,
            return_in_uV=True,
            job_kwargs=jobs,
        )
        analyzer.compute("random_spikes", max_spikes_per_unit=waveform.max_spikes_per_unit, seed=seed)
        analyzer.compute("waveforms", ms_before=waveform.ms_before, ms_after=waveform.ms_after, **jobs)
        analyzer.compute("templates")
        analyzer.compute("noise_levels", random_slices_kwargs={"seed": seed}, **jobs)
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
                section = section[part]
            present = section.get(name, parameter.default)
            lowered = type(parameter.default)(max(parameter.floor, present * factor))
            if lowered < present:
                section[name] = lowered
                changed = True
        if changed:
            self.config = SortingPipelineConfig.model_validate(values)
        return changed

    def snapshot_oom_params(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def restore_oom_params(self, snapshot: dict[str, Any]) -> None:
        self.config = SortingPipelineConfig.model_validate(snapshot)

    def check_ready(self) -> None:
        entry = registered_backends().get(self.name)
        missing = entry.missing_packages() if entry is not None else []
        if entry is not None and missing:
            raise SorterNotInstalledError(
                f"The sorter '{self.name}' is not installed: {', '.join(missing)} can't be found.",
                remedy=f"Run: {entry.install_hint}",
            )
        if not self.config.sorter.params:
            return
        known = self.known_params()
        for parameter in self.config.sorter.params:
            if parameter not in known:
                close = difflib.get_close_matches(parameter, known, n=3)
                raise ConfigError(
                    f"sorter.params.{parameter}: {self.name} has no such parameter.",
                    remedy=f"Did you mean {' or '.join(close)}?"
                    if close
                    else f"Use one of: {', '.join(sorted(known))}.",
                )

    def known_params(self) -> set[str]:
        """Names of the parameters that the sorter takes."""
        from spikeinterface.sorters import get_default_sorter_params

        return set(get_default_sorter_params(self.name))

    def sorter_params(self, recording: BaseRecording) -> dict[str, Any]:
        """The parameters handed to `run_sorter`: our defaults, use of the machine, then what was configured."""
        return {**self.own_defaults, **self.machine_params(recording), **self.config.sorter.params}

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        """Parameters that say how to use the machine: device, workers."""
        return {}

    def _sorter_failed(self, error: Exception, output_folder: Path) -> SorterFailedError:
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
        copy = output_folder / "sorter_output" / "recording.dat"
        copy.unlink(missing_ok=True)


@contextmanager
def compute_threads(threads: int) -> Iterator[None]:
    """Limit torch and the BLAS libraries to `threads` threads, and put back what was set before.

    Two torch threads beside another busy process can be many times slower than one, so the count is never left to
    chance.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)
