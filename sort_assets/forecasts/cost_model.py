"""The cost of a step as a function of the recording's size, learnt from past runs, with what is uncertain of it.

A step takes a part that no size changes (imports, figures) and a part that grows with channels × samples:

    cost = (fixed + rate × size) × noise

The noise is multiplicative and taken to be log-normal: a run takes twice as long rather than ten minutes longer. Fixed
part and rate are fitted by least squares of the relative error, neither below zero. A forecast is the predictive
distribution of such a regression: Student's t with the residuals' degrees of freedom, in the logarithm, widened by the
uncertainty of the fit (Gelman et al., Bayesian Data Analysis, 3rd ed., section 14.2). So few runs give wide intervals.
With few runs, or sizes that are much alike, nothing tells the two parts apart: then all of the cost is taken to grow
with the size, and forecasts for other sizes are widened further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FEWEST_RUNS = 5
"""With fewer, nothing is forecast: the same number from which on a rig has a usual yield."""
_FEWEST_FOR_TWO_PARTS = 8
_SPREAD_FOR_TWO_PARTS = 2.0
"""The largest size in the history over the smallest, from which on the two parts are fitted."""
_SD_PER_LOG_SIZE = 0.25
"""Where they are not: standard deviation added, in log cost, for each factor of e away from the usual size."""
_LEAST_SD = 0.02
"""In log cost. Runs that took equally long by chance promise nothing more exact."""
_ITERATIONS = 10


@dataclass(frozen=True)
class CostModel:
    """The cost of a step, as past runs tell it.

    Attributes
    ----------
    fixed : float
        The part that no size changes, in the cost's unit.
    rate : float
        Cost per channel and sample.
    sd : float
        Standard deviation of the noise, in log cost.
    degrees_of_freedom : int
        Of that estimate.
    spread : tuple of tuple of float
        Lower triangle of a matrix, of shape (2, 2), whose product with its transpose is the covariance of `fixed` and
        `rate`, in units of `sd` squared.
    usual_size : float
        Geometric mean of the sizes in the history, in channels × samples.
    sd_per_log_size : float
        What is added to the standard deviation away from it.
    """

    fixed: float
    rate: float
    sd: float
    degrees_of_freedom: int
    spread: tuple[tuple[float, float], tuple[float, float]]
    usual_size: float
    sd_per_log_size: float

    def draw(self, sizes: Sequence[float], num_draws: int, generator: np.random.Generator) -> np.ndarray:
        """Draw from what the costs of recordings may be.

        What is uncertain of the model is drawn once for all sizes, as it makes all costs too high or too low together;
        the noise is drawn for each.

        Parameters
        ----------
        sizes : sequence of float
            Channels × samples.
        num_draws : int
        generator : numpy.random.Generator

        Returns
        -------
        np.ndarray
            Shape (draws, sizes), in the cost's unit.
        """
        import numpy as np

        size = np.asarray(sizes, dtype=float)
        expected = self.fixed + self.rate * size
        if self.sd == 0:  # of costs that are always zero
            return np.broadcast_to(expected, (num_draws, len(size)))
        chi_squared = generator.chisquare(self.degrees_of_freedom, (num_draws, 1))
        sd = self.sd * np.sqrt(self.degrees_of_freedom / chi_squared)
        relative = np.stack([np.ones_like(size), size]) / expected
        of_fit = generator.standard_normal((num_draws, 2)) @ np.asarray(self.spread).T @ relative
        of_noise = generator.standard_normal((num_draws, len(size)))
        away = self.sd_per_log_size * np.abs(np.log(size / self.usual_size))
        of_size = generator.standard_normal((num_draws, 1)) * away
        drawn: np.ndarray = expected * np.exp(sd * (of_fit + of_noise) + of_size)
        return drawn


def fit_cost_model(sizes: Sequence[float], costs: Sequence[float]) -> CostModel | None:
    """Learn the cost of a step from past runs.

    Parameters
    ----------
    sizes : sequence of float
        Channels × samples of each run, above zero.
    costs : sequence of float
        What each run took, in any unit. A run that took nothing counts for nothing, unless all did.

    Returns
    -------
    CostModel or None
        None with fewer runs than `FEWEST_RUNS`.
    """
    import numpy as np

    if len(costs) >= FEWEST_RUNS and not any(costs):
        return CostModel(0.0, 0.0, 0.0, len(costs), ((0.0, 0.0), (0.0, 0.0)), 1.0, 0.0)
    known = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if cost > 0]
    if len(known) < FEWEST_RUNS:
        return None
    size, cost = np.asarray(known, dtype=float).T
    usual_size = float(np.exp(np.log(size).mean()))
    two_parts = len(cost) >= _FEWEST_FOR_TWO_PARTS and size.max() >= _SPREAD_FOR_TWO_PARTS * size.min()
    parts = _fit_two_parts(size, cost) if two_parts else [0.0, float(np.exp((np.log(cost / size)).mean()))]
    expected = parts[0] + parts[1] * size
    residuals = np.log(cost / expected)
    centre = float(residuals.mean())
    fixed, rate = (part * math.exp(centre) for part in parts)
    expected = fixed + rate * size
    degrees = len(cost) - (2 if two_parts else 1)
    sd = max(_LEAST_SD, math.sqrt(float(np.square(residuals - centre).sum()) / degrees))
    return CostModel(
        fixed=fixed,
        rate=rate,
        sd=sd,
        degrees_of_freedom=degrees,
        spread=_spread(size, expected, two_parts=two_parts),
        usual_size=usual_size,
        sd_per_log_size=0.0 if two_parts else _SD_PER_LOG_SIZE,
    )


def _fit_two_parts(size: np.ndarray, cost: np.ndarray) -> list[float]:
    """Fixed part and rate by least squares of the error relative to what is expected, none below zero."""
    import numpy as np

    expected = cost
    for _ in range(_ITERATIONS):
        design = np.stack([1 / expected, size / expected], axis=1)
        parts, *_ = np.linalg.lstsq(design, cost / expected, rcond=None)
        if parts.min() < 0:  # the other part alone, by the same measure
            column = design[:, int(parts.argmax())]
            alone = float(column @ (cost / expected) / (column @ column))
            parts = np.where(parts == parts.max(), alone, 0.0)
        expected = parts[0] + parts[1] * size
    return [float(part) for part in parts]


def _spread(
    size: np.ndarray, expected: np.ndarray, *, two_parts: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    import numpy as np

    design = np.stack([1 / expected, size / expected], axis=1)
    if not two_parts:
        return (0.0, 0.0), (0.0, 1 / math.sqrt(float((design[:, 1] ** 2).sum())))
    scale = np.sqrt((design**2).sum(axis=0))  # seconds and seconds per sample are many orders of magnitude apart
    lower = np.linalg.cholesky(np.linalg.inv((design / scale).T @ (design / scale))) / scale[:, np.newaxis]
    return (float(lower[0, 0]), 0.0), (float(lower[1, 0]), float(lower[1, 1]))
