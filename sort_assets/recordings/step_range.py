"""A quick look at the steps between numbers or timestamps: in nearly all recordings, none differs from the others."""

from __future__ import annotations

import numpy as np

_BLOCK = 65_536
"""As many numbers and their steps fit into a core's cache, which makes it several times quicker."""


def step_range(values: np.ndarray, before: float | None) -> tuple[float, float]:
    """The smallest and the largest step; NaN where a value is, infinities where there is no step.

    Parameters
    ----------
    values : np.ndarray
        Shape (values,).
    before : float or None
        The value before the first one.
    """
    lowest, highest = np.inf, -np.inf
    if before is not None:
        lowest = highest = values[0] - before
    steps = np.empty(_BLOCK, values.dtype)
    with np.errstate(invalid="ignore"):
        for start in range(0, len(values) - 1, _BLOCK):
            block = values[start : start + _BLOCK + 1]
            found = np.subtract(block[1:], block[:-1], out=steps[: len(block) - 1])
            lowest, highest = np.minimum(lowest, found.min()), np.maximum(highest, found.max())
    return float(lowest), float(highest)
