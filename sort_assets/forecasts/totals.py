"""What steps cost together: of one recording, and of a backlog.

Quantiles can't be added up: that all of a hundred sorts take longer than usual is less likely than that one does. So
costs are drawn from what each may be, the draws are added, and the quantiles are taken of the sums. Draws repeat: the
same question gets the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sort_assets.forecasts.history import Basis

if TYPE_CHECKING:
    import numpy as np

WALL_S, CPU_S, GPU_S = "wall_s", "cpu_s", "gpu_s"
PEAK_MEMORY_BYTES, DISK_BYTES = "peak_memory_bytes", "disk_bytes"
QUANTITIES = (WALL_S, CPU_S, GPU_S, PEAK_MEMORY_BYTES, DISK_BYTES)
PROBABILITIES = (0.1, 0.5, 0.9)
_DRAWS, _FEWEST_DRAWS, _DRAWN_AT_ONCE = 4000, 200, 400_000
_SEED = 20


@dataclass(frozen=True)
class Quantiles:
    """A forecast of a number: in 8 of 10 cases it lies between the outer ones.

    Attributes
    ----------
    p10, p50, p90 : float
        It is below them with these probabilities, in percent.
    """

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, draws: np.ndarray) -> Quantiles:
        """Those of numbers that were drawn."""
        import numpy as np

        return cls(*(float(value) for value in np.quantile(draws, PROBABILITIES)))

    @classmethod
    def known(cls, value: float) -> Quantiles:
        """Of a number that is certain."""
        return cls(value, value, value)


@dataclass(frozen=True)
class PlannedStep:
    """A step that is to run.

    Attributes
    ----------
    basis : Basis
        What the past says of it.
    after : str or None
        The step whose result it reads; None where it reads what is there already.
    takes_pool : bool
        Whether only so many of its kind run at a time, on the GPUs.
    """

    basis: Basis
    after: str | None = None
    takes_pool: bool = False

    @property
    def name(self) -> str:
        """The step's."""
        return self.basis.kind.step


@dataclass(frozen=True)
class PlannedRecording:
    """A recording of which steps are to run.

    Attributes
    ----------
    recording : str
        Its key.
    size : float or None
        Channels × samples; None where nobody knows them yet.
    steps : tuple of PlannedStep
        In the order of the pipeline.
    """

    recording: str
    size: float | None
    steps: tuple[PlannedStep, ...]

    @property
    def without_forecast(self) -> tuple[str, ...]:
        """Why there is no forecast, by step; empty where there is one."""
        if self.size is None:
            return ("its channels and length are not known yet",)
        return tuple(f"{step.name}: {step.basis.words}" for step in self.steps if WALL_S not in step.basis.models)


@dataclass(frozen=True)
class Forecast:
    """What work will cost.

    Attributes
    ----------
    recordings : int
        How many it is of.
    costs : Mapping[str, Quantiles]
        By quantity of `QUANTITIES`: `wall_s` with as many runs and sorts at a time as there may be, the peak memory of
        the largest step, the others of all steps together. Empty where there is nothing to forecast from.
    without_forecast : Mapping[str, tuple of str]
        By recording that is not in it, why.
    """

    recordings: int
    costs: Mapping[str, Quantiles]
    without_forecast: Mapping[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "recordings": self.recordings,
            **{quantity: asdict(one) for quantity, one in self.costs.items()},
            "without_forecast": {key: list(why) for key, why in self.without_forecast.items()},
        }


@dataclass(frozen=True)
class AtATime:
    """How many runs, and steps that take the pool, there may be at a time."""

    runs: int = 1
    sorts: int = 1


def forecast(planned: Sequence[PlannedRecording], at_a_time: AtATime = AtATime()) -> Forecast:
    """What the steps of recordings will cost together.

    Parameters
    ----------
    planned : sequence of PlannedRecording
    at_a_time : AtATime
        The time that all of them take is at least that of the longest run, that of all runs shared among those that may
        run at a time, and that of all steps that take the pool, shared likewise.
    """
    without = {one.recording: one.without_forecast for one in planned if one.without_forecast}
    known = [one for one in planned if not one.without_forecast and one.steps]
    if not known:
        return Forecast(0, {}, without)
    costs = {
        WALL_S: Quantiles.of(_wall_s(known, at_a_time)),
        PEAK_MEMORY_BYTES: Quantiles.of(_largest(known, PEAK_MEMORY_BYTES)),
        **{name: Quantiles.of(_sum(known, name)) for name in (CPU_S, GPU_S, DISK_BYTES)},
    }
    return Forecast(len(known), {name: costs[name] for name in QUANTITIES}, without)


def forecast_step(step: PlannedStep, size: float) -> dict[str, Quantiles]:
    """What one step will cost, by quantity; empty without a history.

    Parameters
    ----------
    step : PlannedStep
    size : float
        Channels × samples of the recording.
    """
    found = {}
    for quantity in QUANTITIES:
        if quantity in step.basis.models:
            draws = step.basis.models[quantity].draw([size], _DRAWS, _generator(quantity, step.name))
            found[quantity] = Quantiles.of(draws)
    return found


def _wall_s(planned: Sequence[PlannedRecording], at_a_time: AtATime) -> np.ndarray:
    import numpy as np

    drawn = _draws(planned, WALL_S)
    longest = all_runs = all_sorts = np.zeros(1)
    for number, one in enumerate(planned):
        ends: dict[str, np.ndarray] = {}
        for step in one.steps:
            begins = ends.get(step.after or "", np.zeros(1))
            ends[step.name] = begins + drawn[number, step.name]
            if step.takes_pool:
                all_sorts = all_sorts + drawn[number, step.name]
        run_s = np.max(list(ends.values()), axis=0)
        longest, all_runs = np.maximum(longest, run_s), all_runs + run_s
    shared = np.maximum(all_runs / max(1, at_a_time.runs), all_sorts / max(1, at_a_time.sorts))
    return np.asarray(np.maximum(longest, shared))


def _sum(planned: Sequence[PlannedRecording], quantity: str) -> np.ndarray:
    import numpy as np

    return np.asarray(sum(_draws(planned, quantity).values(), np.zeros(1)))


def _largest(planned: Sequence[PlannedRecording], quantity: str) -> np.ndarray:
    import numpy as np

    found = np.zeros(1)
    for draws in _draws(planned, quantity).values():
        found = np.maximum(found, draws)
    return found


def _draws(planned: Sequence[PlannedRecording], quantity: str) -> dict[tuple[int, str], np.ndarray]:
    """What each step may take, shape (draws,), by number of the recording and name of the step."""
    num_draws = min(_DRAWS, max(_FEWEST_DRAWS, _DRAWN_AT_ONCE // len(planned)))
    of_basis: dict[int, tuple[Basis, list[int]]] = {}
    for number, one in enumerate(planned):
        for step in one.steps:
            of_basis.setdefault(id(step.basis), (step.basis, []))[1].append(number)
    found: dict[tuple[int, str], np.ndarray] = {}
    for basis, numbers in of_basis.values():
        model = basis.models.get(quantity)
        if model is None:  # not measured everywhere, as on systems that do not count it
            continue
        sizes = [planned[number].size or 0.0 for number in numbers]
        draws = model.draw(sizes, num_draws, _generator(quantity, basis.kind.step))
        found |= {(number, basis.kind.step): draws[:, column] for column, number in enumerate(numbers)}
    return found


def _generator(quantity: str, step: str) -> np.random.Generator:
    """The same for the same question; another for each step, whose costs are independent."""
    import numpy as np

    return np.random.default_rng([_SEED, *f"{quantity} {step}".encode()])
