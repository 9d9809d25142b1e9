"""What is changed when a sort runs out of memory (OOM): the parameters, their limits, and the order of the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sort_assets.backends.shape import SORTER_PARAMS
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SortAssetsError
from sort_assets.machine.cores import resolve_n_jobs

N_JOBS = "execution.n_jobs"
DEVICE = "sorter.device"


@dataclass(frozen=True)
class MemoryParameter:
    """A parameter that drives memory, and how far it may be changed.

    Attributes
    ----------
    field : str
        Dotted path in the configuration: "sorter.params.batch_size", "execution.chunk_duration_s".
    default : int, float, bool or None
        The value where neither the configuration nor the recording's shape sets it.
    limit : int, float or bool
        Beyond this the result would suffer more than memory is saved.
    at_once : bool
        Go to the limit in one step, instead of by the factor of the retry.
    raised : bool
        Whether a larger value takes less memory.
    """

    field: str
    default: float | bool | None
    limit: float | bool
    at_once: bool = False
    raised: bool = False

    def reduced(self, present: Any, factor: float) -> Any:
        """The next value that takes less memory; the present one at the limit. None means "without limit"."""
        if present is None or isinstance(self.limit, bool):
            return self.limit
        if not isinstance(present, int | float):
            return present  # a list of centres, say: it was chosen with care
        if (present >= self.limit) if self.raised else (present <= self.limit):
            return present
        if self.at_once:
            return self.limit
        value = min(self.limit, present / factor) if self.raised else max(self.limit, present * factor)
        return type(self.limit)(value)


OomStep = tuple[MemoryParameter, ...]
"""Parameters that are changed together."""
OomSchedule = tuple[OomStep, ...]
"""Steps in order: a retry takes the first that still changes something."""

WORKERS = MemoryParameter(N_JOBS, default=-1, limit=1)
"""Every worker holds a chunk and what is computed from it."""
CHUNK_DURATION = MemoryParameter("execution.chunk_duration_s", default=1.0, limit=0.1, at_once=True)
"""The size of that chunk. Small ones take slightly longer and change no result, so it goes to its limit at once."""
BESIDE_THE_SORT: OomSchedule = ((CHUNK_DURATION,), (WORKERS,))
"""The schedule outside of the sorter: writing the `.dat`, cutting out waveforms and so on."""
STAGES_BESIDE_THE_SORT = ("preprocessed_recording", "binary_dat", "waveforms")
"""The stages of failures in a backend's other methods: `load_recording`, `write_recording`, `extract_waveforms`."""


def chosen_by_shape(failure: Exception | None) -> dict[str, Any]:
    """What the shape of the recording had chosen in the sort that failed, by dotted field: see `SorterRun`."""
    known = failure.diagnostics if isinstance(failure, SortAssetsError) else {}
    return {name: value for name, value in known.items() if name.startswith(SORTER_PARAMS)}


def next_oom_params(
    config: SortingPipelineConfig, schedule: OomSchedule, factor: float, shaped: Mapping[str, Any] | None = None
) -> SortingPipelineConfig | None:
    """The configuration after the first step that changes something; None when none does.

    Parameters
    ----------
    config : SortingPipelineConfig
        What ran.
    schedule : OomSchedule
    factor : float
        In (0, 1), how much of a present value to keep.
    shaped : Mapping[str, Any] or None
        By dotted field, what ran where the configuration sets nothing: the choices of the recording's shape, which may
        already take less memory than the default.
    """
    for step in schedule:
        values = config.model_dump()
        changed = False
        for parameter in step:
            *sections, name = parameter.field.split(".")
            section = values
            for part in sections:
                section = section.setdefault(part, {})
            present: Any = section.get(name, (shaped or {}).get(parameter.field, parameter.default))
            if parameter.field == N_JOBS:
                present = resolve_n_jobs(present)
            reduced = parameter.reduced(present, factor)
            if reduced != present:
                section[name] = reduced
                changed = True
        if changed:
            return SortingPipelineConfig.model_validate(values)
    return None


def changed_fields(before: SortingPipelineConfig, after: SortingPipelineConfig) -> dict[str, list[Any]]:
    """Dotted fields in which two configurations differ, with both values; the device is left out.

    A value of None stands for "not set".
    """
    first, second = dict(_leaves(before.model_dump())), dict(_leaves(after.model_dump()))
    names = [name for name in second if first.get(name) != second[name]]
    return {name: [first.get(name), second[name]] for name in names if name != DEVICE}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
