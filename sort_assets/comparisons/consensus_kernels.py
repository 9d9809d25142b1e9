"""The inner loops of a consensus, over the spikes of several sortings."""

# mypy: disable-error-code="untyped-decorator"

import numpy as np
from numba import njit

from sort_assets.machine.machine_code import kept


@kept
@njit(nogil=True)
def count_coincidences(
    first: np.ndarray,
    second: np.ndarray,
    first_units: np.ndarray,
    second_units: np.ndarray,
    candidates: np.ndarray,
    reach: int,
) -> np.ndarray:
    """Coincident spikes of the pairs of units that may be the same.

    SpikeInterface's `compute_matching_matrix`, which skips the other pairs.

    Parameters
    ----------
    first, second : np.ndarray
        Samples of spikes, ascending.
    first_units, second_units : np.ndarray
        Index of the unit of each spike.
    candidates : np.ndarray
        bool, shape (units of the first, units of the second).
    reach : int
        Largest distance in samples at which spikes coincide.

    Returns
    -------
    np.ndarray
        int64, shape of `candidates`.
    """
    found = np.zeros(candidates.shape, dtype=np.int64)
    last_first = np.full(candidates.shape, -1, dtype=np.int64)
    last_second = np.full(candidates.shape, -1, dtype=np.int64)
    begin = 0
    for one in range(first.size):
        while begin < second.size and second[begin] < first[one] - reach:
            begin += 1
        other = begin
        while other < second.size and second[other] <= first[one] + reach:
            mine, its = first_units[one], second_units[other]
            if candidates[mine, its] and last_first[mine, its] != one and last_second[mine, its] != other:
                last_first[mine, its] = one
                last_second[mine, its] = other
                found[mine, its] += 1
            other += 1
    return found


@kept
@njit(nogil=True)
def spikes_in_common(
    samples: np.ndarray, members: np.ndarray, num_members: int, reach: int, at_least: int
) -> np.ndarray:
    """Spikes that enough members have, each once.

    A spike belongs to the event of the one before where it is within reach of it and its member has none in it yet; a
    second spike of a member within reach of its last one repeats that. The event's sample is the median of its
    members' (of an even number, the earlier of the middle two).

    Parameters
    ----------
    samples : np.ndarray
        int64, ascending.
    members : np.ndarray
        Which member each spike is of.
    num_members : int
    reach, at_least : int

    Returns
    -------
    np.ndarray
        int64, ascending, further than `reach` from each other.
    """
    found = np.empty(samples.size, dtype=np.int64)
    count = 0
    latest = np.full(num_members, -reach - 1, dtype=np.int64)
    event_of = np.full(num_members, -1, dtype=np.int64)
    event = np.empty(num_members, dtype=np.int64)
    size = number = 0
    for spike in range(samples.size + 1):
        over = spike == samples.size
        if not over:
            sample, member = samples[spike], members[spike]
            if sample - latest[member] <= reach:
                continue
            over = size > 0 and (sample - event[size - 1] > reach or event_of[member] == number)
        if over:
            if size >= at_least:
                middle = event[(size - 1) // 2]
                if count == 0 or middle - found[count - 1] > reach:
                    found[count] = middle
                    count += 1
            size = 0
            number += 1
        if spike < samples.size:
            latest[member] = sample
            event_of[member] = number
            event[size] = sample
            size += 1
    return found[:count]
