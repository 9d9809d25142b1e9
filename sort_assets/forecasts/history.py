"""Past runs of steps, and which of them tell what the next one will cost.

A run tells of the next one where it was on the same device and with the same sorter. With the same settings too, where
there are enough such runs; else with whatever settings. Another device starts a history of its own: what a GPU took
says nothing of the one that replaced it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from sort_assets.checks.result import counted
from sort_assets.forecasts.cost_model import FEWEST_RUNS, CostModel, fit_cost_model

NEWEST = 50
"""The number of past runs that are learnt from, the newest: drivers, packages and habits change over the months."""


@dataclass(frozen=True, kw_only=True)
class PastStep:
    """A successful run of a step.

    Attributes
    ----------
    step : str
    made_at : float
        In seconds since 1970.
    size : float
        Channels × samples.
    device : str
        The GPU's name; the processor's where none was held.
    on_gpu : bool
    sorter : str
        Name of the recording's sorter.
    settings : str
        Identifies the settings that take effect in this step.
    costs : Mapping[str, float]
        By quantity, such as `wall_s`.
    """

    step: str
    made_at: float
    size: float
    device: str
    on_gpu: bool
    sorter: str
    settings: str
    costs: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class StepKind:
    """What a step that is to be forecast has in common with those before.

    Attributes
    ----------
    step, sorter, settings : str
        As in `PastStep`.
    device : str or None
        None is the one that the newest such step was on.
    on_gpu : bool or None
        None where it may be on either.
    """

    step: str
    sorter: str
    settings: str
    device: str | None = None
    on_gpu: bool | None = None


@dataclass(frozen=True)
class Basis:
    """What is known of a step before it runs.

    Attributes
    ----------
    kind : StepKind
    device : str or None
        Whose past runs count; None where there are none at all.
    runs : int
        How many of them there are.
    same_settings : bool
        Whether they ran with the same settings.
    models : Mapping[str, CostModel]
        By quantity; none where there are too few runs.
    """

    kind: StepKind
    device: str | None
    runs: int
    same_settings: bool
    models: Mapping[str, CostModel] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Where a forecast comes from, or why there is none."""
        on = f" on {self.device}" if self.device else ""
        if not self.models:
            return f"no history: {counted(self.runs, 'run')}{on} of at least {FEWEST_RUNS} (with {self.kind.sorter})"
        return f"{self.runs} runs{on}{'' if self.same_settings else ', with other settings'}"


class CostHistory:
    """Past runs of steps.

    Parameters
    ----------
    past : iterable of PastStep
        In any order.
    """

    def __init__(self, past: Iterable[PastStep]) -> None:
        self._past: dict[tuple[str, str], list[PastStep]] = {}
        for one in sorted(past, key=attrgetter("made_at"), reverse=True):
            self._past.setdefault((one.step, one.sorter), []).append(one)
        self._bases: dict[StepKind, Basis] = {}

    def basis(self, kind: StepKind) -> Basis:
        """What the past says of a kind of step."""
        if kind not in self._bases:
            self._bases[kind] = self._basis(kind)
        return self._bases[kind]

    def _basis(self, kind: StepKind) -> Basis:
        past = self._past.get((kind.step, kind.sorter), [])
        if kind.on_gpu is not None:
            past = [one for one in past if one.on_gpu == kind.on_gpu]
        device = kind.device or (past[0].device if past else None)
        alike = [one for one in past if one.device == device]
        same = [one for one in alike if one.settings == kind.settings]
        same_settings = len(same) >= FEWEST_RUNS
        runs = (same if same_settings else alike)[:NEWEST]
        if len(runs) < FEWEST_RUNS:
            return Basis(kind, device, len(runs), same_settings)
        models: dict[str, CostModel] = {}
        for quantity in runs[0].costs:
            known = [(one.size, one.costs[quantity]) for one in runs if quantity in one.costs]
            model = fit_cost_model([size for size, _ in known], [cost for _, cost in known])
            if model is not None:
                models[quantity] = model
        return Basis(kind, device, len(runs), same_settings, models)
