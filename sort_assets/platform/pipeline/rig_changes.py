"""When a rig left its usual range in yield, noise or drift, and when it came back.

The verdicts of its recordings count in the order in which the recordings were first processed, which does not change
when one of them is sorted or curated again. What was told is kept in the instance: verdicts in the store are replaced.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sort_assets.platform.pipeline.recorded_checks import RecordedCheck
from sort_assets.platform.pipeline.recording_results import RecordingSummary
from sort_assets.platform.pipeline.rig_history import Rig, alike, first_folder
from sort_assets.platform.store.store import Store

MEASURES: Mapping[str, str] = {"yield_as_usual": "yield", "noise_level": "noise", "drift_as_usual": "drift"}
"""What the checks measure that compare a recording with its rig, by their names."""
_OF_A_SORTER = frozenset({"yield_as_usual"})
_KEY = "sort_assets/rigs"
"""Beginning of the keys in the instance's storage."""


@dataclass(frozen=True)
class RigChange:
    """A rig left its usual range in something, or is back in it.

    Attributes
    ----------
    rig : Rig
    measure : str
        "yield", "noise" or "drift".
    recording : str
        The first recording that is out of the range, or in it again.
    is_out : bool
    description : str
        What the check of that recording found.
    """

    rig: Rig
    measure: str
    recording: str
    is_out: bool
    description: str

    @property
    def words(self) -> str:
        """The change in a sentence or two."""
        if self.is_out:
            return (
                f"{self.rig.words}: the {self.measure} left its usual range with {self.recording}. {self.description}"
            )
        return f"{self.rig.words}: the {self.measure} is back in its usual range since {self.recording}."


class LastVerdict(BaseModel):
    """The verdict on the newest recording of a rig of which people were told, or need not be.

    Attributes
    ----------
    recording : str
    first_made_at : datetime
        When the recording was first processed.
    is_out : bool
    told_at : datetime or None
        The end of the period that was reported then.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    recording: str
    first_made_at: datetime
    is_out: bool
    told_at: datetime | None = None

    def is_about_newer(self, first_made_at: datetime, recording: str) -> bool:
        """Whether this is about a recording that was first processed later than another one."""
        return (first_made_at, recording) < (self.first_made_at, self.recording)


_VERDICTS = TypeAdapter(list[LastVerdict])


@dataclass(frozen=True)
class RigMemory:
    """What was told of rigs, in the instance's storage.

    A report that nobody received is made again for a period that begins at the same time: what was kept for it then
    does not count, and is replaced.

    Attributes
    ----------
    instance : dg.DagsterInstance
    since, until : datetime
        The period of which a report is made.
    """

    instance: dg.DagsterInstance
    since: datetime
    until: datetime

    def last(self, rig: Rig, check: str) -> LastVerdict | None:
        """The last verdict of earlier reports; None without one."""
        return next((one for one in reversed(self._kept(rig, check)) if self._is_earlier(one)), None)

    def keep(self, rig: Rig, check: str, verdict: LastVerdict) -> None:
        """Keep the last verdict of this report."""
        earlier = [one for one in self._kept(rig, check) if self._is_earlier(one)][-1:]
        kept = [*earlier, verdict.model_copy(update={"told_at": self.until})]
        text = _VERDICTS.dump_json(kept).decode()
        self.instance.daemon_cursor_storage.set_cursor_values({_key(rig, check): text})

    def _is_earlier(self, verdict: LastVerdict) -> bool:
        return verdict.told_at is not None and verdict.told_at <= self.since

    def _kept(self, rig: Rig, check: str) -> list[LastVerdict]:
        key = _key(rig, check)
        text = self.instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
        try:
            return _VERDICTS.validate_json(text) if text else []
        except ValidationError:
            return []  # of another version of sort_assets


def _key(rig: Rig, check: str) -> str:
    return f"{_KEY}/{check}/{rig.channels}/{rig.sorter}/{rig.folder}"


def rig_changes(
    store: Store,
    made: Mapping[str, RecordingSummary],
    run_ids: Set[str],
    unfinished: Set[str] = frozenset(),
    memory: RigMemory | None = None,
) -> list[RigChange]:
    """When rigs left their usual range, or came back, by the verdicts of some runs.

    A rig is out of its usual range from a recording on whose check did not pass, up to the next one whose check did.
    Whoever asks of each run once, after it has ended, is told each change once.

    Parameters
    ----------
    store : Store
    made : mapping
        By key, the recordings of these runs.
    run_ids : set of str
        The runs.
    unfinished : set of str
        Runs that have not ended, of whose verdicts nobody was told yet.
    memory : RigMemory or None
        What was told before, where what is told now is kept. Where it holds nothing of a rig, the verdicts in the store
        that are of other runs count as told.
    """
    judged: dict[tuple[Rig, str], list[tuple[datetime, str, RecordedCheck]]] = {}
    for key, summary in made.items():
        for rig, first_made_at, check in _measured(key, summary):
            if check.run_id in run_ids:
                judged.setdefault((rig, check.name), []).append((first_made_at, key, check))
    changes = []
    for (rig, name), found in sorted(judged.items(), key=lambda one: one[0]):
        last = memory.last(rig, name) if memory else None
        last = last or _last_of_others(store, rig, name, run_ids | unfinished)
        for first_made_at, key, check in sorted(found, key=lambda one: one[:2]):
            # A run that took long, or made an old recording again, says nothing of how the rig is now.
            if last is not None and last.is_about_newer(first_made_at, key):
                continue
            was_out = last is not None and last.is_out
            last = LastVerdict(recording=key, first_made_at=first_made_at, is_out=not check.passed)
            if last.is_out != was_out:
                changes.append(RigChange(rig, MEASURES[name], key, last.is_out, check.description))
        if memory and last is not None:
            memory.keep(rig, name, last)
    return changes


def rigs_out_of_range(summaries: Mapping[str, RecordingSummary]) -> list[RigChange]:
    """The rigs whose newest recording is out of their usual range."""
    newest: dict[tuple[Rig, str], tuple[datetime, str, RecordedCheck]] = {}
    for key, summary in summaries.items():
        for rig, first_made_at, check in _measured(key, summary):
            one = (first_made_at, key, check)
            newest[rig, check.name] = max(newest.get((rig, check.name), one), one, key=lambda each: each[:2])
    return [
        RigChange(rig, MEASURES[name], key, True, check.description)
        for (rig, name), (_, key, check) in sorted(newest.items(), key=lambda one: one[0])
        if not check.passed
    ]


def _measured(key: str, summary: RecordingSummary) -> Iterator[tuple[Rig, datetime, RecordedCheck]]:
    """The verdicts of a recording that compare it with its rig, with the time at which it was first processed."""
    if summary.channels is None:
        return
    for check in summary.checks:
        first_made_at = summary.first_made_at or summary.sorted_at or check.made_at
        if check.name in MEASURES and first_made_at is not None:
            sorter = summary.sorter or "" if check.name in _OF_A_SORTER else ""
            yield Rig(first_folder(key), summary.channels, sorter), first_made_at, check


def _last_of_others(store: Store, rig: Rig, name: str, without: Set[str]) -> LastVerdict | None:
    """The verdict on the newest recording, without those of some runs."""
    of_folder = [key for key in store.recordings() if first_folder(key) == rig.folder]
    verdicts = [
        LastVerdict(recording=key, first_made_at=first_made_at, is_out=not check.passed)
        for key, summary in alike(store, of_folder, rig.channels)
        for of_rig, first_made_at, check in _measured(key, summary)
        if (of_rig, check.name) == (rig, name) and check.run_id not in without
    ]
    return max(verdicts, key=lambda one: (one.first_made_at, one.recording), default=None)
