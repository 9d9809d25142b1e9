"""What a figure has to know of a threshold on a metric."""

from typing import Protocol

import numpy as np


class MetricCriterion(Protocol):
    """A threshold on a metric, as `sort_assets.curation.criteria.Criterion` has it.

    Attributes
    ----------
    name : str
        Column of the metrics table.
    greater, less : float or None
        Smallest and largest value that is allowed, themselves included; None sets no bound.
    label : str
        The label of its axis, with its unit: "Firing rate (Hz)".
    absolute : bool
        Whether the sign of the value is ignored.
    """

    @property
    def name(self) -> str: ...
    @property
    def greater(self) -> float | None: ...
    @property
    def less(self) -> float | None: ...
    @property
    def label(self) -> str: ...
    @property
    def absolute(self) -> bool: ...


def meets_criterion(values: np.ndarray, criterion: MetricCriterion) -> np.ndarray:
    """Whether each value is allowed, shape as `values`; an unknown value (NaN) counts as allowed."""
    values = np.abs(values) if criterion.absolute else np.asarray(values)
    allowed = np.ones(values.shape, dtype=bool)
    if criterion.greater is not None:
        allowed &= ~(values < criterion.greater)
    if criterion.less is not None:
        allowed &= ~(values > criterion.less)
    return allowed
