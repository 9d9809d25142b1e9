"""Classifying a failed sort: from what the sorter leaves behind to one of the classes of `sort_assets.errors`.

SpikeInterface raises its error without a cause, after the sorter's own is gone (`sorters/basesorter.py`), and a killed
process raises none at all: so it is text that is classified, and the way in which the process ended.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from sort_assets.backends.any_sorter_failures import COMMON_FAILURES
from sort_assets.backends.failure_rules import Evidence, FailureRule
from sort_assets.errors import (
    ConfigError,
    HostOutOfMemoryError,
    OutOfResourcesError,
    RecordingError,
    SortAssetsError,
    SorterCrashedError,
    SorterEnvironmentError,
    SorterFailedError,
)

_EXCERPT_LINES = 25
# The log of a long sort can have hundreds of megabytes, and progress bars be one line of megabytes. Of its beginning,
# rules read what it says of the recording.
_BEGINNING = 1_000_000
_END = 9_000_000
_SEARCHED = 2_000_000
_LINE = 1000
# As tqdm writes them: "Detect peaks:  45%|####      | 9/20 [00:03<00:04,  2.5it/s]". Other words may follow at once.
_BAR = re.compile(r"\d{1,3}%\|[^|]{0,300}\|[^\[|]{0,60}\[[^\]]{0,120}\]")
# What is wrong with the machine explains what looks like a fault of the recording, never the other way round.
_PRIORITY = (SorterEnvironmentError, ConfigError, OutOfResourcesError, RecordingError)

_TRACEBACK = "Traceback (most recent call last)"
_FRAME = re.compile(r'\s*File "|\s*\[Previous line repeated')
_CLOSING_WORDS = re.compile(r"^\s*(?:Spike sorting (?:failed\.|error trace:)|$)", re.MULTILINE)
_NOISE = re.compile(
    r"\d%\|"  # progress bars
    r"|^[\s^~]*$"  # underlining of a traceback
    r"|^\s*[-*=]{20,}\s*$"
    r"|(?:CPU usage|Mem used|Mem avail|GPU usage|GPU memory|Process thread count|num torch threads):"
    r"|^\s*Spike sorting (?:failed\.|error trace:)"
    r"|(?:INFO|DEBUG)\s*$"
)
_WARNINGS = ("Warning:", "WARNING")


def classify(evidence: Evidence, *, sorter: str, rules: Sequence[FailureRule] = ()) -> SortAssetsError:
    """Classify what ended a sort.

    Of all rules that recognise it, the sorter's own take precedence over those for any sorter, and failures of the
    environment over those of the machine's resources, and these over those of the recording. The error's text decides;
    the log, which also holds what did no harm, counts only where no rule recognises the text, and how the process ended
    only after that. The time that this takes does not depend on how much the sorter wrote or how long its lines are.

    Parameters
    ----------
    evidence : Evidence
        What the sort left behind.
    sorter : str
        Name of the sorter.
    rules : sequence of FailureRule
        Those of the sorter.

    Returns
    -------
    SortAssetsError
        With the stage, the end of the traceback or log, and how the process ended; a `SorterFailedError` with the
        sorter's own words when nothing recognises it.
    """
    evidence = replace(evidence, text=_readable(evidence.text), log=_readable(evidence.log))
    all_rules = (*rules, *COMMON_FAILURES)
    failure = _recognise(evidence.text[-_SEARCHED:], evidence, all_rules)
    number = _signal_number(evidence.exit_status)
    # A killed process writes no last message: its log only shows what went well.
    if failure is None and number != signal.SIGKILL:
        failure = _recognise(_without_warnings(evidence.log[-_SEARCHED:]), evidence, all_rules)
        # No recording sends a signal. Blamed on the recording, a crash could become a result without units.
        if number is not None and isinstance(failure, RecordingError):
            failure = None
    if failure is None and evidence.exit_status is not None:
        failure = _ended(evidence.exit_status, evidence.oom_kills)
    if failure is None:
        failure = SorterFailedError(
            f"The sorter '{sorter}' stopped with an error: "
            f"{cause(evidence.text) or cause(evidence.log) or 'it gave no reason.'}",
            remedy="Read the log excerpt; if parameters are to blame, change sorter.params and run again.",
        )
    failure.stage = failure.stage or evidence.stage
    failure.log_excerpt = failure.log_excerpt or excerpt(evidence)
    if evidence.exit_status is not None:
        failure.diagnostics.setdefault("exit_status", evidence.exit_status)
    return failure


def cause(text: str) -> str:
    """The line of a traceback that names the exception, with the first line of its message.

    Parameters
    ----------
    text : str
        A traceback, also as SpikeInterface wraps it or stores it in JSON; or any text, whose last line then counts.

    Returns
    -------
    str
        Empty where the text says nothing.
    """
    lines = [line for line in text.replace("\r", "\n").splitlines() if not _CLOSING_WORDS.match(line)]
    starts = [index for index, line in enumerate(lines) if _TRACEBACK in line]
    if starts:
        # SpikeInterface's JSON indents the exception's line as far as those of the frames.
        own = [line for line in lines[starts[-1] + 1 :] if not line.startswith("   ") and not _FRAME.match(line)]
        if own:
            return own[0].strip()
    spoken = [line for line in lines if not _NOISE.search(line)]
    return spoken[-1].strip() if spoken else ""


def excerpt(evidence: Evidence) -> str:
    """The last lines of the traceback, or of the log where there is none, without progress bars and the like."""
    for text in (evidence.text, evidence.log):
        backwards = reversed(text.replace("\r", "\n").splitlines())
        lines = list(islice((line.rstrip() for line in backwards if not _NOISE.search(line)), _EXCERPT_LINES))
        if lines:
            return "\n".join(reversed(lines))
    return ""


def _readable(text: str) -> str:
    """Both ends of a text, without progress bars and in lines of limited length, which every rule can search fast."""
    if len(text) > _BEGINNING + _END:
        text = f"{text[:_BEGINNING]}\n{text[-_END:]}"
    return "\n".join(_lines_without_bars(text))


def _lines_without_bars(text: str) -> Iterator[str]:
    for line in text.replace("\r", "\n").split("\n"):
        if "%|" not in line:
            yield line[:_LINE]
        elif said_after := _BAR.split(line)[-1].strip():
            yield said_after[:_LINE]


def _without_warnings(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not any(word in line for word in _WARNINGS))


def _recognise(text: str, evidence: Evidence, rules: Sequence[FailureRule]) -> SortAssetsError | None:
    matches = ((rule, rule.pattern.search(text)) for rule in rules)
    recognised = [rule.make(match, evidence) for rule, match in matches if match is not None]
    return min(recognised, key=_rank, default=None)


def _rank(failure: SortAssetsError) -> int:
    ranks = (rank for rank, kind in enumerate(_PRIORITY) if isinstance(failure, kind))
    return next(ranks, len(_PRIORITY))


def _signal_number(exit_status: int | None) -> int | None:
    """Number of the signal that ended a process, also where a shell reports it as 128 and more."""
    if exit_status is None or 0 <= exit_status <= 128:
        return None
    number = -exit_status if exit_status < 0 else exit_status - 128
    return number if number in _SIGNALS else None


_SIGNALS: Mapping[int, str] = {number.value: number.name for number in signal.Signals}
_SIGNAL_MEANINGS: Mapping[int, tuple[str, str]] = {
    signal.SIGKILL: (
        "was killed from outside (SIGKILL)",
        "A person, a batch system's limit, or the kernel for want of memory kills like this: look at `dmesg` and at "
        "the limits of the job or container, then run again.",
    ),
    signal.SIGSEGV: (
        "touched memory that is not its own (SIGSEGV), a fault in compiled code",
        "Run again. If it crashes again, reinstall the sorter's compiled packages (torch, numba, numpy) in compatible "
        "versions.",
    ),
    signal.SIGBUS: (
        "lost memory that was mapped to a file (SIGBUS)",
        "Check that /dev/shm and the store's disk are not full, and that no one truncated the recording's file while "
        "it was read; then run again.",
    ),
    signal.SIGABRT: (
        "aborted (SIGABRT), as compiled code does on a failed check",
        "Its last words are in the log excerpt. Run again; if it aborts again, report them to the sorter's authors.",
    ),
    signal.SIGILL: (
        "used an instruction that this processor does not know (SIGILL)",
        "Install builds of the sorter's packages (torch, numba, numpy) for this machine's processor.",
    ),
    signal.SIGXCPU: (
        "used up the processor time that it may have (SIGXCPU)",
        "Raise the limit of the batch system or of `ulimit -t`, then run again.",
    ),
}


def _ended(exit_status: int, oom_kills: int) -> SortAssetsError:
    number = _signal_number(exit_status)
    if number is None:
        return SorterCrashedError(
            f"The sorter's process ended with exit status {exit_status} and left no result.",
            remedy="Its last words are in the log excerpt. Run again; if it ends so again, run it with "
            "execution.isolation 'in_process' to see the error.",
        )
    name = _SIGNALS[number]
    if number == signal.SIGKILL and oom_kills > 0:
        return HostOutOfMemoryError(
            "The kernel killed the sorter's process because the machine's or the container's memory was used up.",
            remedy="Give the sort more memory, run fewer at a time (execution.n_jobs, the pool of runs), or sort a "
            "shorter part (recording.first_minutes, recording.split_by).",
            signal=name,
            oom_kills=oom_kills,
        )
    happened, remedy = _SIGNAL_MEANINGS.get(
        number, (f"was ended by a signal ({name})", "Find out who or what sent the signal, then run again.")
    )
    return SorterCrashedError(f"The sorter's process {happened}.", remedy=remedy, signal=name)
