"""When the disk will be full, if recordings go on to arrive as they did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from sort_assets.forecasts.totals import PROBABILITIES, Quantiles

DAYS = 28
"""How far back is looked: four weeks, so that weekends and weeks without recordings count as often as they are."""
FEWEST_DAYS = 7
FEWEST_RECORDINGS = 5


def days_until_full(free_bytes: float, daily_bytes: Sequence[float], recordings: int) -> Quantiles | None:
    """Days until the free space is used up.

    What arrives in so many days is taken to be normally distributed, with mean and variance of a day times their
    number; the mean is as uncertain as that of so few days is.

    Parameters
    ----------
    free_bytes : float
    daily_bytes : sequence of float
        What recordings added on each of the last days, also of those on which none came.
    recordings : int
        How many these were.

    Returns
    -------
    Quantiles or None
        In days, infinite where the disk may as well never be full. None where it is too early to tell.
    """
    if len(daily_bytes) < FEWEST_DAYS or recordings < FEWEST_RECORDINGS:
        return None
    mean, deviation = fmean(daily_bytes), stdev(daily_bytes)
    # A tenth of what may be is that much arrives, and the disk is full early.
    likely = [NormalDist().inv_cdf(1 - probability) for probability in PROBABILITIES]
    return Quantiles(*(_days(free_bytes, mean, deviation, len(daily_bytes), quantile) for quantile in likely))


def _days(free_bytes: float, mean: float, deviation: float, days: int, quantile: float) -> float:
    """Solves n × mean + quantile × deviation × √(n + n² / days) = free for the number of days n."""
    spread = (quantile * deviation) ** 2
    square, linear = mean * mean - spread / days, 2 * free_bytes * mean + spread
    root = math.sqrt(max(0.0, linear * linear - 4 * square * free_bytes * free_bytes))
    if quantile > 0:  # more than expected arrives: the earlier of the two solutions
        return 2 * free_bytes * free_bytes / (linear + root) if linear + root > 0 else math.inf
    return (linear + root) / (2 * square) if square > 0 else math.inf
