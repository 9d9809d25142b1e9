"""How to write a rule that recognises a failure: `Evidence` of a failed sort, `FailureRule`, `failure_rule()`.

Where to add a failure message: in `any_sorter_failures` if any sorter can fail like that, in `FAILURE_RULES` of
`kilosort4/failures.py` for Kilosort4, else in the class attribute `failure_rules` of the sorter's backend.
`failure_classification` applies the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sort_assets.errors import SortAssetsError

SPIKEINTERFACE_LOG = "spikeinterface_log.json"
"""File in the folder that SpikeInterface gives a sorter: how the sorter ended, with its traceback."""

_SIZE = re.compile(r"(\d+\.?\d*) ?([KMGTPE]?i?)(?:B|bytes)")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


@dataclass(frozen=True)
class Evidence:
    """What is known of a sort that failed.

    Attributes
    ----------
    text : str
        SpikeInterface's error, or the traceback that it left (`read_error_trace`); empty when the process just ended.
    log : str
        The sorter's own log, of which beginning and end suffice, and the end of what its process wrote.
    exit_status : int or None
        Of the sorter's process when it ended without an outcome; the negative number of the signal that ended it.
    stage : str or None
        Stage that the log announced last.
    oom_kills : int
        How often the kernel's out-of-memory killer struck while the sort ran.
    device : str
        "cpu" or "cuda".
    """

    text: str
    log: str = ""
    exit_status: int | None = None
    stage: str | None = None
    oom_kills: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class FailureRule:
    """How one cause of failure reads, and the error that it becomes.

    Attributes
    ----------
    pattern : re.Pattern
        Searched in the error's text, and in the log where no rule recognises the text. On long lines it has to stay
        fast: what can match anything stands after fixed words, or after the beginning of a line.
    make : callable
        Makes the failure of the match and of the whole evidence.
    kind, message, remedy
        What it makes, where that does not depend on further evidence.
    example : str
        Else a sorter's message that the rule recognises, from which the documentation shows what it makes.
    """

    pattern: re.Pattern[str]
    make: Callable[[re.Match[str], Evidence], SortAssetsError]
    kind: type[SortAssetsError] | None = None
    message: str = ""
    remedy: str = ""
    example: str = ""


def failure_rule(pattern: str, kind: type[SortAssetsError], message: str, remedy: str) -> FailureRule:
    """A rule whose message does not depend on further evidence.

    Parameters
    ----------
    pattern : str
        Regular expression. Its named groups become the failure's diagnostics: numbers where they are digits, and
        bytes where the name is `bytes_asked`.
    kind : type
        Class of the failure.
    message : str
        What happened; the named groups can stand in it in braces.
    remedy : str
        What to do about it.
    """

    def make(match: re.Match[str], _: Evidence) -> SortAssetsError:
        groups = {name: value or "?" for name, value in match.groupdict().items()}
        return kind(message.format_map(groups), remedy=remedy, **diagnostics(match))

    return FailureRule(re.compile(pattern), make, kind, message, remedy)


def read_error_trace(folder: Path) -> str:
    """The traceback that SpikeInterface left of a sorter that failed.

    Parameters
    ----------
    folder : Path
        The one that SpikeInterface gave the sorter.

    Returns
    -------
    str
        Empty where there is none, also where the process died while it was written.
    """
    try:
        log = json.loads((folder / SPIKEINTERFACE_LOG).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""
    trace = log.get("error_trace", []) if isinstance(log, dict) else []
    return "\n".join(map(str, trace)) if isinstance(trace, list) else str(trace)


def diagnostics(match: re.Match[str]) -> dict[str, Any]:
    """The named groups that took part in a match; see `failure_rule`."""
    matched = {name: value for name, value in match.groupdict().items() if value is not None}
    return {name: _number(name, value) for name, value in matched.items()}


def _number(name: str, text: str) -> int | str:
    # Only half of it may have been written.
    if name == "bytes_asked" and _SIZE.fullmatch(text):
        return num_bytes(text)
    return int(text) if text.isdecimal() else text


def num_bytes(size: str) -> int:
    """Bytes of a size as torch and numpy write it: "2.00 GiB", "117. TiB", "215850768 bytes".

    Raises
    ------
    ValueError
        When it is no size.
    """
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise ValueError(f"'{size}' is no size in bytes.")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].removesuffix("i")])
