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
        The .meta files, in which `firstSample` is a number, where it is stated.
    counts : sequence of int
        Samples of each trigger.
    rate_hz : float
    """
    starts: list[int] = []
    doubts: list[str] = []
    for number, (meta, count) in enumerate(zip(metas, counts, strict=True)):
        if "firstSample" in meta:
            starts.append(int(meta["firstSample"]))
        else:
            starts.append(starts[-1] + counts[number - 1] if starts else 0)
            if len(metas) > 1:
                doubts.append(
                    f"The .meta of trigger file {number + 1} of {len(metas)} does not say when it began (firstSample): "
                    + ("it was taken to follow the one before." if number else "it was taken to begin at 0.")
                )
        stated_s = meta.get("fileTimeSecs", "").strip()
        if stated_s and not _is_near(stated_s, count / rate_hz):
            doubts.append(
                f"The .meta of trigger file {number + 1} of {len(metas)} says that it lasts {stated_s} s "
                f"(fileTimeSecs), and it has samples for {count / rate_hz:.6g} s at its rate of {rate_hz:g} Hz."
            )
    return [start / rate_hz for start in starts], doubts


def _is_near(stated: str, duration_s: float) -> bool:
    try:
        return abs(float(stated) - duration_s) <= _ROUNDING_S + _STATED_TWICE * duration_s
    except ValueError:
        return False
