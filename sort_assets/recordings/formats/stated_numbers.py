"""Numbers that a recording's own files state: checked where they are read, and named where they are nonsense."""

from __future__ import annotations

import math
from pathlib import Path

from sort_assets.errors import UnreadableRecordingError

_FASTEST_HZ = 1e6
"""No amplifier takes more samples of a channel; filters for spikes can't be computed at much higher rates."""
_SHOWN = 60


def stated_number(value: object, field: str, path: Path, *, remedy: str, positive: bool = False) -> float:
    """The finite number that a field states.

    Parameters
    ----------
    value : object
        As it was read: a number, a text, or None where the file lacks the field.
    field : str
        Its name in the file, for the message.
    path : Path
        The file.
    remedy : str
        What to do where it is none.
    positive : bool
        Whether 0 and negative numbers are nonsense too.

    Raises
    ------
    UnreadableRecordingError
        When it is missing, no number, or none that can be.
    """
    number = _number(value)
    if number is None or (positive and number <= 0):
        raise _nonsense(value, field, path, "positive number" if positive else "number", remedy)
    return number


def stated_count(value: object, field: str, path: Path, *, remedy: str, least: int = 0) -> int:
    """The whole number that a field states, at least `least`; the rest is as for `stated_number`."""
    number = _number(value)
    if number is None or number != int(number) or number < least:
        what = {0: "whole number from 0", 1: "whole number from 1"}.get(least, f"whole number from {least}")
        raise _nonsense(value, field, path, what, remedy)
    # A text of more digits than a float has is exact in itself.
    return int(value) if isinstance(value, str) and value.strip().lstrip("+").isdecimal() else int(number)


def stated_rate(value: object, field: str, path: Path) -> float:
    """The sampling rate that a field states.

    Raises
    ------
    UnreadableRecordingError
        When it is missing, not positive, or one that no amplifier has.
    """
    number = _number(value)
    remedy = (
        f"Correct {field} in the file, or export the samples to a plain binary file, as recording.binary describes."
    )
    if value is None:
        raise _nonsense(value, field, path, "rate", remedy)
    if number is None or not 0 < number <= _FASTEST_HZ:
        raise UnreadableRecordingError(f"'{path}' states {_shown(value)} samples per second ({field}).", remedy=remedy)
    return number


def _number(value: object) -> float | None:
    """A finite number, or the text of one."""
    if hasattr(value, "shape") and hasattr(value, "item"):  # of numpy, which may be an array of one
        value = value.item() if getattr(value, "size", 0) == 1 else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _nonsense(value: object, field: str, path: Path, what: str, remedy: str) -> UnreadableRecordingError:
    if value is None:
        return UnreadableRecordingError(f"'{path}' does not state {field}.", remedy=remedy)
    return UnreadableRecordingError(f"'{path}' states {_shown(value)} as {field}, which is no {what}.", remedy=remedy)


def _shown(value: object) -> str:
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = f"{value:g}" if isinstance(value, int | float) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
