"""Where a unit is, by monopolar triangulation: SpikeInterface's fit, with compiled errors and derivatives.

SpikeInterface 0.105.3 lets scipy estimate the derivatives of each step from five calls of a Python function, which is
two fifths of the time. These are the same estimates: the same steps, forward, or backward at a bound.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit

from sort_assets.machine.machine_code import kept

_OPTIMIZER = "least_square"
# numpy squares a number alone by `pow`, in which one result of many differs from x * x by its last bit: seen from a
# variable, this is compiled to `pow` too.
_SQUARE = 2.0
_STEP = float(np.finfo("float64").eps ** 0.5)


@functools.cache
def use_compiled_errors() -> None:
    """Let SpikeInterface fit with what is compiled here; later calls do nothing."""
    from spikeinterface.postprocessing import localization_tools

    if not hasattr(localization_tools, "solve_monopolar_triangulation"):  # Another version may have moved it.
        return
    theirs = localization_tools.solve_monopolar_triangulation

    def solve(
        amplitudes: np.ndarray, positions_um: np.ndarray, max_distance_um: float, optimizer: str
    ) -> tuple[float, ...]:
        if optimizer == _OPTIMIZER:
            try:
                return _solve(amplitudes, positions_um, max_distance_um)
            except ValueError:
                pass  # Of what can't be fitted, SpikeInterface says so itself.
        found: tuple[float, ...] = theirs(amplitudes, positions_um, max_distance_um, optimizer)
        return found

    localization_tools.solve_monopolar_triangulation = solve


def _solve(amplitudes: np.ndarray, positions_um: np.ndarray, max_distance_um: float) -> tuple[float, ...]:
    """Position x, y and distance z from the probe in micrometres, and amplitude at the source."""
    from scipy.optimize import least_squares
    from spikeinterface.postprocessing.localization_tools import make_initial_guess_and_bounds

    guess, bounds = make_initial_guess_and_bounds(amplitudes, positions_um, max_distance_um)
    low, high = (np.broadcast_to(np.asarray(each, dtype="float64"), 4).copy() for each in bounds)
    values = np.ascontiguousarray(amplitudes, dtype="float64")
    places = np.ascontiguousarray(positions_um, dtype="float64")
    fitted: Any = least_squares(
        lambda source: _errors(source, values, places, _SQUARE),
        x0=guess,
        jac=lambda source: _derivatives(source, values, places, _SQUARE, low, high).T,
        bounds=bounds,
    )
    return tuple(fitted["x"])


@kept
@njit(nogil=True)
def _errors(source: np.ndarray, values: np.ndarray, places: np.ndarray, square: float) -> np.ndarray:
    """Measured less expected amplitude on each channel; `source` is x, y, z and amplitude."""
    found = np.empty(values.size)
    depth = source[2] ** square
    for channel in range(values.size):
        x, y = places[channel, 0] - source[0], places[channel, 1] - source[1]
        found[channel] = values[channel] - source[3] / np.sqrt((x * x + y * y) + depth)
    return found


@kept
@njit(nogil=True)
def _derivatives(
    source: np.ndarray, values: np.ndarray, places: np.ndarray, square: float, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Of the errors by each number of the source, shape (4, channels), as scipy's "2-point" estimates them."""
    found = np.empty((source.size, values.size))
    before = _errors(source, values, places, square)
    for number in range(source.size):
        step = _STEP * max(1.0, abs(source[number]))
        if source[number] < 0:
            step = -step
        if not low[number] <= source[number] + step <= high[number]:
            below, above = source[number] - low[number], high[number] - source[number]
            if abs(step) <= max(below, above):
                step = -step
            elif above >= below:
                step = above
            else:
                step = -below
        moved = source.copy()
        moved[number] = source[number] + step
        difference = _errors(moved, values, places, square) - before
        found[number] = difference / (moved[number] - source[number])
    return found
