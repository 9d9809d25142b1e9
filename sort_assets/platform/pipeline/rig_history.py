"""The results of other recordings of the same rig, for checks that ask what is usual.

Nothing states on which rig a recording was made. Recordings count as of the same rig when they have the same number of
channels and lie in the same first folder below the recordings root; while these are too few, all recordings with the
same number of channels count. Numbers of units depend on the sorter too: those are of recordings with the same sorter.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sort_assets.checks.usual_on_rig import FEWEST_RECORDINGS
from sort_assets.platform.pipeline.recording_results import RecordingSummary, recording_summary
from sort_assets.platform.store.layout import CURRENT
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import SEPARATOR, RecordingKey

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
        place = f"below '{RecordingKey.parse(self.folder).path}'" if self.folder else "in the recordings root"
        return f"{self.channels} channels, {place}{f', sorted with {self.sorter}' if self.sorter else ''}"


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
    folder = first_folder(recording)
    others = [key for key in store.recordings() if key != recording]
    same = [one for _, one in alike(store, [key for key in others if first_folder(key) == folder], channels)]
    words = Rig(folder, channels).words
    if len(same) < FEWEST_RECORDINGS:
        same, words = [one for _, one in alike(store, others, channels)], f"{channels} channels"
    of_sorter = [one for one in same if one.sorter == sorter]
    return RigHistory(
        units=[one.units_found for one in of_sorter if one.units_found is not None],
        units_kept=[one.units_kept for one in of_sorter if one.units_kept is not None],
        noise_uv=[one.noise_uv for one in same if one.noise_uv is not None],
        drift_um=[one.drift_um for one in same if one.drift_um is not None],
        rig=words,
    )


def first_folder(recording: str) -> str:
    """The folder of the rig, in a recording's key; empty for recordings that lie in the recordings root."""
    folder, separator, _ = recording.partition(SEPARATOR)
    return folder if separator else ""


def alike(store: Store, recordings: list[str], channels: int) -> Iterator[tuple[str, RecordingSummary]]:
    """The newest recordings with so many channels."""
    found = 0
    for key in newest_sorted(store, recordings)[:_READ]:
        summary = recording_summary(store, key)
        if summary.channels == channels:
            yield key, summary
            found += 1
        if found == NEWEST:
            return


def newest_sorted(store: Store, recordings: list[str]) -> list[str]:
    """Those of some recordings that have a sorting, most recently sorted first."""
    dated = ((_sorted_version(store, key), key) for key in recordings)
    return [key for _, key in sorted((one for one in dated if one[0]), reverse=True)]


def _sorted_version(store: Store, recording: str) -> str:
    """The current version of the sorting, which begins with its time; empty when there is none."""
    try:
        return os.readlink(f"{store.root}/{recording}/sorting/{CURRENT}")  # noqa: PTH115 - quick
    except OSError:
        return ""
