"""Intan's files of one recording, of which its software begins a new one every minute, or every few.

They are called after when they began: `rat7_240105_101500.rhd`, `rat7_240105_101600.rhd`, in a folder that is called
like the first one unless somebody has copied them.
"""

from __future__ import annotations

import re
from collections.abc import Set
from datetime import datetime
from itertools import pairwise

_NAME = re.compile(r"(?P<base>.*)_(?P<stamp>\d{6}_\d{6})\.(?P<suffix>rhd|rhs)", re.IGNORECASE)
_MINUTE_S = 60.0
_LATE_S = 2.0
"""How much later than a whole number of minutes a file may be named."""
_ENOUGH = 3
"""Files that follow each other at equal steps and so are certainly no recordings of their own, in any folder."""


def are_parts(folder: str, entries: Set[str]) -> bool:
    """Whether the Intan files among the entries of a folder are one recording, as far as names say it.

    Parameters
    ----------
    folder : str
        Its name.
    entries : set of str
        Names of what is directly in it.
    """
    names = sorted(entry for entry in entries if entry.lower().endswith((".rhd", ".rhs")))
    found = [match for match in map(_NAME.fullmatch, names) if match is not None]
    if len(found) < max(2, len(names)) or len({(match["base"], match["suffix"]) for match in found}) > 1:
        return False
    try:
        starts = [datetime.strptime(match["stamp"], "%y%m%d_%H%M%S") for match in found]
    except ValueError:
        return False
    steps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    step_s = max(_MINUTE_S, _MINUTE_S * round(min(steps_s) / _MINUTE_S))
    numbers = [round(step / step_s) for step in steps_s]
    in_step = all(abs(step - number * step_s) <= _LATE_S for step, number in zip(steps_s, numbers, strict=True))
    # A file may be lost: that is a gap of the recording.
    follow = 2 * numbers.count(1) >= len(numbers) and min(numbers) > 0
    return in_step and follow and (len(found) >= _ENOUGH or folder == names[0].rpartition(".")[0])
