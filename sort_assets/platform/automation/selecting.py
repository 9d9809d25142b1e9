"""Choosing among recordings by name and by what came out of them."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase

from sort_assets.platform.automation.status import RecordingStatus, UnregisteredStatus
from sort_assets.recordings.key import STREAM_MARK

Status = RecordingStatus | UnregisteredStatus


@dataclass(frozen=True)
class Filters:
    """Which recordings to show; none chosen shows all, several show what fits any of them.

    Attributes
    ----------
    failed, unsortable, degraded, waiting, problems, changed : bool
    """

    failed: bool = False
    unsortable: bool = False
    degraded: bool = False
    waiting: bool = False
    problems: bool = False
    changed: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is chosen."""
        return any(astuple(self))

    def fit(self, one: Status) -> bool:
        """Whether a recording is to be shown."""
        if not self.any:
            return True
        if isinstance(one, UnregisteredStatus):
            # A problem of what was left alone on purpose is nobody's.
            return (self.waiting and one.state == "waiting") or (self.problems and one.state == "problem")
        fits = (
            self.failed and one.failure is not None,
            self.failed and one.last_run_status == "FAILURE",
            self.unsortable and one.unsortable is not None,
            self.degraded and one.degraded,
            self.waiting and one.run_wanted,
            self.problems and (one.problem is not None or one.vanished is not None),
            self.changed and one.changed,
        )
        return any(fits)


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes
    ----------
    recordings : list of RecordingStatus
    others : list of UnregisteredStatus
    unmatched : dict
        By each name that nothing has, the nearest names.
    """

    recordings: list[RecordingStatus]
    others: list[UnregisteredStatus]
    unmatched: dict[str, list[str]]


def select(
    recordings: Sequence[RecordingStatus],
    others: Sequence[UnregisteredStatus],
    names: Iterable[str] = (),
    filters: Filters = Filters(),
) -> Selection:
    """Choose by names and filters.

    Parameters
    ----------
    recordings, others : sequence
    names : iterable of str
        Keys, or paths relative to the recordings root, with wildcards as in a shell; a key without its stream names all
        streams. None chooses all.
    filters : Filters
    """
    names = list(names)
    matched = {name: _matcher(name) for name in names}
    everything: list[Status] = [*recordings, *others]
    found = {name: [one for one in everything if matches(one)] for name, matches in matched.items()}
    chosen = {id(one) for some in found.values() for one in some}
    known = [text for one in everything for text in {one.recording, one.path} if text]
    return Selection(
        [one for one in recordings if (not names or id(one) in chosen) and filters.fit(one)],
        [one for one in others if (not names or id(one) in chosen) and filters.fit(one)],
        {name: difflib.get_close_matches(name, known, n=3) for name, some in found.items() if not some},
    )


def _matcher(name: str) -> Callable[[Status], bool]:
    def matches(one: Status) -> bool:
        key = one.recording or ""
        texts = {key, key.partition(STREAM_MARK)[0], one.path or ""} - {""}
        # Names of files may hold brackets: what is named as it is comes first.
        return name in texts or any(fnmatchcase(text, name) for text in texts)

    return matches
