"""Few spikes around one place of the probe: Kilosort takes them for one unit, unless it is given each several times.

`kilosort.clustering_qr.run` (4.1.7) goes from place to place, and divides the spikes around one only where there are at
least 1000; no parameter changes that. On a tetrode, which is one place, three cells of 4 Hz have fewer for 80 seconds.
Given each spike as often as it takes to reach 1000, it divides them as it does 1000 others: of equal spikes, all come
into the same unit, and every 20th (`cluster_downsampling`) is another one.
"""

from __future__ import annotations

import functools
import math
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sort_assets.backends.kilosort4.replaced_functions import Function, Replacement, replaced

FEWEST_SPIKES_TO_DIVIDE = 1000
"""Kilosort takes fewer spikes around one place for one unit."""
FEWEST_SPIKES_TO_REPEAT = 50
"""Below this, every 20th of 1000 would be the same spike again; units of so few spikes are seldom kept."""
FEWEST_WORTH_A_WORD = 20
"""Spikes around a place that stayed one unit, below which that is not said: it is noise, or of no use."""

_AT_A_PLACE = re.compile(r"Center \d+ \| Xd shape: torch\.Size\(\[(\d+),")
_LAST_CLUSTERING = "Final clustering"


def _repeating(spikes_at_place: Function) -> Function:
    @functools.wraps(spikes_at_place)
    def repeated(*args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        features, spikes, channels = spikes_at_place(*args, **kwargs)
        if features is None or not FEWEST_SPIKES_TO_REPEAT <= features.shape[0] < FEWEST_SPIKES_TO_DIVIDE:
            return features, spikes, channels
        times = math.ceil(FEWEST_SPIKES_TO_DIVIDE / features.shape[0])
        return features.repeat_interleave(times, 0), spikes.repeat_interleave(times), channels

    return repeated


_SPIKES_AT_PLACE = Replacement(
    "kilosort.clustering_qr",
    "get_data_cpu",
    ("ops", "xy", "iC", "PID", "tF", "ycenter", "xcenter", "dmin", "dminx", "ix", "merge_dim"),
    _repeating,
)


def few_spikes_divided() -> AbstractContextManager[bool]:
    """Let Kilosort divide few spikes around a place, for as long as this lasts."""
    return replaced(_SPIKES_AT_PLACE, otherwise="Few spikes around one place stay one unit.")


def undivided_places(log_path: Path) -> list[int]:
    """Numbers of spikes around the places that the last clustering took for one unit each, as Kilosort's log has them.

    Parameters
    ----------
    log_path : Path
        `kilosort4.log`.
    """
    if not log_path.is_file():
        return []
    _, _, last = log_path.read_text(encoding="utf-8", errors="replace").rpartition(_LAST_CLUSTERING)
    counts = [int(found) for found in _AT_A_PLACE.findall(last)]
    return [count for count in counts if FEWEST_WORTH_A_WORD <= count < FEWEST_SPIKES_TO_DIVIDE]
