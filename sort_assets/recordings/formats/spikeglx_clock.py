"""The clock of SpikeGLX triggers: their .meta files say at which sample of the acquisition each began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_STATED_TWICE = 5e-4
"""Share by which the duration may differ from samples and rate: the rate may have been measured anew since."""
_ROUNDING_S = 1e-3


def trigger_starts(
    metas: Sequence[Mapping[str, str]], counts: Sequence[int], rate_hz: float
) -> tuple[list[float], list[str]]:
    """Time of the first sample of each trigger in seconds, and what is doubtful about it.

    Parameters
    ----------
    metas : sequence of mapping of str to str
        The .meta files.
    counts : sequence of int
        Samples of each trigger.
    rate_hz : float

    Raises
    ------
    ValueError
        When a .meta states no number, or a negative one.
    """
    starts: list[int] = []
    doubts: list[str] = []
    for number, (meta, count) in enumerate(zip(metas, counts, strict=True)):
        if "firstSample" in meta:
            starts.append(int(meta["firstSample"]))
            if starts[-1] < 0:
                raise ValueError(f"firstSample is {starts[-1]}")
        else:
            starts.append(starts[-1] + counts[number - 1] if starts else 0)
            if len(metas) > 1:
                doubts.append(
                    f"The .meta of trigger file {number + 1} of {len(metas)} does not say when it began (firstSample): "
                    + ("it was taken to follow the one before." if number else "it was taken to begin at 0.")
                )
        stated_s = float(meta.get("fileTimeSecs", count / rate_hz))
        if abs(stated_s - count / rate_hz) > _ROUNDING_S + _STATED_TWICE * count / rate_hz:
            doubts.append(
                f"The .meta of trigger file {number + 1} of {len(metas)} says that it lasts {stated_s:.6g} s "
                f"(fileTimeSecs), and it has samples for {count / rate_hz:.6g} s at its rate of {rate_hz:g} Hz."
            )
    return [start / rate_hz for start in starts], doubts
