"""Polylines through points."""

from __future__ import annotations

import numpy as np


def polyline_through(x: np.ndarray, y: np.ndarray, tolerance: float) -> list[int]:
    """Points that a polyline must have to stay near all of them (Ramer-Douglas-Peucker).

    Parameters
    ----------
    x, y : np.ndarray
        Shape (points,), `x` strictly ascending.
    tolerance : float
        How far `y` may lie from the polyline.

    Returns
    -------
    list of int
        Indices of the points, the first and the last among them.
    """
    kept, waiting = {0, len(x) - 1}, [(0, len(x) - 1)]
    while waiting:
        first, last = waiting.pop()
        inside = slice(first, last + 1)
        off = np.abs(y[inside] - y[first] - (x[inside] - x[first]) * (y[last] - y[first]) / (x[last] - x[first]))
        worst = first + int(np.argmax(off))
        if last - first > 1 and off.max() > tolerance:
            kept.add(worst)
            waiting += [(first, worst), (worst, last)]
    return sorted(kept)
