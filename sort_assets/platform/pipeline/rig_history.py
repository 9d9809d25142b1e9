"""The results of other recordings of the same rig, for checks that ask what is usual, and when a rig left that.

Nothing states on which rig a recording was made. Recordings count as of the same rig when they have the same number of
channels and lie in the same first folder below the recordings root; while these are too few, all recordings with the
same number of channels count. Numbers of units depend on the sorter too: those are of recordings with the same sorter.
"""

import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime

from sort_assets.checks.usual_on_rig import FEWEST_RECORDINGS
from sort_assets.platform.pipeline.recorded_checks import RecordedCheck
from sort_assets.platform.pipeline.recording_results import RecordingSummary, recording_summary
from sort_assets.platform.store.layout import CURRENT
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import SEPARATOR

MEASURES: Mapping[str, str] = {"yield_as_usual": "yield", "noise_level": "noise", "drift_as_usual": "drift"}
"""What the checks measure that compare a recording with its rig, by their names."""
_OF_A_SORTER = frozenset({"yield_as_usual"})
NEWEST = 50
"""The number of other recordings to compare with, those that were sorted last: rigs change over the years."""
_READ = 500
"""The largest number of recordings whose manifests are read."""


@dataclass(frozen=True)
class RigHistory:
    """The results of other recordings of a rig, most recently sorted first.

    Attributes
    ----------
    units : list of int
        Units found, of recordings with the same sorter.
    units_kept : list of int
        Units that curation kept, of recordings with the same sorter.
    noise_uv : list of float
        Medians over channels.
    drift_um : list of float
        Medians over units.
    rig : str
        A description of these recordings.
    """

    units: list[int]
    units_kept: list[int]
    noise_uv: list[float]
    drift_um: list[float]
    rig: str


@dataclass(frozen=True, order=True)
class Rig:
    """Recordings that count as of the same rig.

    Attributes
    ----------
    folder : str
        The first folder below the recordings root; empty for recordings that lie in the root.
    channels : int
        Their number after preprocessing.
    sorter : str
        Name of the sorter, for what depends on it; empty for what does not.
    """

    folder: str
    channels: int
    sorter: str = ""

    @property
    def words(self) -> str:
        """For messages."""
        place = f"below '{self.folder}'" if self.folder else "in the recordings root"
        return f"{self.channels} channels, {place}{f', sorted with {self.sorter}' if self.sorter else ''}"


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


def rig_changes(
    store: Store, made: Mapping[str, RecordingSummary], run_ids: Set[str], unfinished: Set[str] = frozenset()
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
    """
    judged: dict[tuple[Rig, str], list[tuple[datetime, str, RecordedCheck]]] = {}
    for key, summary in made.items():
        for rig, check in _measured(key, summary):
            if check.made_at is not None and check.run_id in run_ids:
                judged.setdefault((rig, check.name), []).append((check.made_at, key, check))
    changes = []
    for (rig, name), found in sorted(judged.items(), key=lambda one: one[0]):
        told_at, is_out = _told(store, rig, name, run_ids | unfinished)
        for made_at, key, check in sorted(found, key=lambda one: one[:2]):
            # A run that took long has verdicts from before others that were told already.
            if check.passed == is_out and (told_at is None or made_at > told_at):
                is_out = not check.passed
                changes.append(RigChange(rig, MEASURES[name], key, is_out, check.description))
    return changes


def rigs_out_of_range(summaries: Mapping[str, RecordingSummary]) -> list[RigChange]:
    """The rigs whose newest verdict is that they are out of their usual range."""
    newest: dict[tuple[Rig, str], tuple[datetime, str, RecordedCheck]] = {}
    for key, summary in summaries.items():
        for rig, check in _measured(key, summary):
            if check.made_at is not None:
                one = (check.made_at, key, check)
                newest[rig, check.name] = max(newest.get((rig, check.name), one), one, key=lambda each: each[:2])
    return [
        RigChange(rig, MEASURES[name], key, True, check.description)
        for (rig, name), (_, key, check) in sorted(newest.items(), key=lambda one: one[0])
        if not check.passed
    ]


def _measured(key: str, summary: RecordingSummary) -> Iterator[tuple[Rig, RecordedCheck]]:
    """The verdicts of a recording that compare it with its rig."""
    if summary.channels is None:
        return
    for check in summary.checks:
        if check.name in MEASURES:
            sorter = summary.sorter or "" if check.name in _OF_A_SORTER else ""
            yield Rig(_first_folder(key), summary.channels, sorter), check


def _told(store: Store, rig: Rig, name: str, without: Set[str]) -> tuple[datetime | None, bool]:
    """When the newest verdict without those of some runs was made, and whether it said that the rig is out."""
    of_folder = [key for key in store.recordings() if _first_folder(key) == rig.folder]
    for key, summary in _alike(store, of_folder, rig.channels):
        for of_rig, check in _measured(key, summary):
            if (of_rig, check.name) == (rig, name) and check.run_id not in without:
                return check.made_at, not check.passed
    return None, False


def rig_history(store: Store, recording: str, *, channels: int, sorter: str) -> RigHistory:
    """The results of other recordings of the same rig.

    Parameters
    ----------
    store : Store
    recording : str
        The key of the recording to compare, which is left out.
    channels : int
        Its number of channels after preprocessing.
    sorter : str
        Name of its sorter.
    """
    folder = _first_folder(recording)
    others = [key for key in store.recordings() if key != recording]
    same = [one for _, one in _alike(store, [key for key in others if _first_folder(key) == folder], channels)]
    words = Rig(folder, channels).words
    if len(same) < FEWEST_RECORDINGS:
        same, words = [one for _, one in _alike(store, others, channels)], f"{channels} channels"
    of_sorter = [one for one in same if one.sorter == sorter]
    return RigHistory(
        units=[one.units_found for one in of_sorter if one.units_found is not None],
        units_kept=[one.units_kept for one in of_sorter if one.units_kept is not None],
        noise_uv=[one.noise_uv for one in same if one.noise_uv is not None],
        drift_um=[one.drift_um for one in same if one.drift_um is not None],
        rig=words,
    )


def _first_folder(recording: str) -> str:
    folder, separator, _ = recording.partition(SEPARATOR)
    return folder if separator else ""


def _alike(store: Store, recordings: list[str], channels: int) -> Iterator[tuple[str, RecordingSummary]]:
    """The newest recordings with so many channels."""
    found = 0
    dated = ((_sorted_version(store, key), key) for key in recordings)
    for _, key in sorted((one for one in dated if one[0]), reverse=True)[:_READ]:
        summary = recording_summary(store, key)
        if summary.channels == channels:
            yield key, summary
            found += 1
        if found == NEWEST:
            return


def _sorted_version(store: Store, recording: str) -> str:
    """The current version of the sorting, which begins with its time; empty when there is none."""
    try:
        return os.readlink(f"{store.root}/{recording}/sorting/{CURRENT}")  # noqa: PTH115 - quick
    except OSError:
        return ""
