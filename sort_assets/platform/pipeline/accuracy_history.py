"""How well injected units were found on a rig: the measurements of its recordings, and what they say of its sorts.

A rig is what `rig_history` takes for one: recordings with the same number of channels in the same first folder below
the recordings root, sorted with the same sorter.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sort_assets.checks.usual_on_rig import FEWEST_RECORDINGS
from sort_assets.config import SorterConfig
from sort_assets.platform.pipeline.rig_history import NEWEST, Rig, first_folder
from sort_assets.platform.store.layout import CURRENT
from sort_assets.platform.store.manifest import Manifest, read_manifest
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_hybrid import AccuracyDetails, StoredAccuracy

if TYPE_CHECKING:
    from sort_assets.hybrid.accuracy import UnitAccuracy


@dataclass(frozen=True)
class Measurement:
    """One measurement of accuracy: units were injected into a recording, which was sorted.

    Attributes
    ----------
    recording, version : str
    made : datetime
    data_version : str
    details : AccuracyDetails
    sorter : str
    params : Mapping
        The sorter's parameters that were set.
    """

    recording: str
    version: str
    made: datetime
    data_version: str
    details: AccuracyDetails
    sorter: str
    params: Mapping[str, Any]

    @classmethod
    def of(cls, manifest: Manifest) -> "Measurement":
        """What a manifest of `hybrid_accuracy` says."""
        sorter = manifest.config.get("sorter", {})
        return cls(
            recording=manifest.recording,
            version=manifest.version,
            made=manifest.created,
            data_version=manifest.data_version,
            details=manifest.details_as(AccuracyDetails),
            sorter=str(sorter.get("name", "")),
            params=sorter.get("params", {}),
        )

    @property
    def rig(self) -> Rig:
        """Where it was made."""
        return Rig(first_folder(self.recording), self.details.channels, self.sorter)

    @property
    def units(self) -> "list[UnitAccuracy]":
        """What became of each injected unit."""
        from sort_assets.hybrid.accuracy import UnitAccuracy

        return [UnitAccuracy(**values) for values in self.details.units]


def measurements_on_rig(store: Store, rig: Rig) -> list[Measurement]:
    """The current measurement of each recording of a rig, newest first."""
    return _of_rig(store, _measured(store, rig.folder), rig, current=True)


def measurements_sorted_alike(
    store: Store, recording: str, *, channels: int, sorter: SorterConfig
) -> list[Measurement]:
    """The current measurements on the rig of a recording that were sorted with the same sorter and parameters.

    Parameters
    ----------
    store : Store
    recording : str
        The recording's key.
    channels : int
        Its number of channels after preprocessing.
    sorter : SorterConfig
        With which it was sorted.
    """
    found = measurements_on_rig(store, Rig(first_folder(recording), channels, sorter.name))
    return [one for one in found if one.params == sorter.params]


def recalls_before(store: Store, recording: str, version: str, *, channels: int, sorter: str) -> list[float]:
    """The recalls of other measurements on the rig of a recording, newest first, for what is usual.

    While the rig has too few, those of all recordings with as many channels and the same sorter. Older measurements of
    a recording count too, unless they came out exactly as another one.

    Parameters
    ----------
    store : Store
    recording, version : str
        The measurement that is to be compared, which is left out.
    channels : int
    sorter : str
        Name of the sorter.
    """
    rig = Rig(first_folder(recording), channels, sorter)
    found = _of_rig(store, _measured(store, rig.folder), rig, current=False)
    if len(_distinct(found, recording, version)) < FEWEST_RECORDINGS:
        everywhere = _measured(store, None)
        folders = {first_folder(key) for key in everywhere}
        found = [
            one
            for folder in sorted(folders)
            for one in _of_rig(store, everywhere, Rig(folder, channels, sorter), current=False)
        ]
    newest = sorted(_distinct(found, recording, version), key=lambda one: one.version, reverse=True)[:NEWEST]
    return [one.details.recall for one in newest if one.details.recall is not None]


def _distinct(found: Iterable[Measurement], recording: str, version: str) -> list[Measurement]:
    others = [one for one in found if (one.recording, one.version) != (recording, version)]
    return list({(one.recording, one.data_version): one for one in others}.values())


def _measured(store: Store, folder: str | None) -> list[str]:
    """The recordings of a rig's folder, or of all, of which there is a measurement."""
    return [
        key
        for key in store.recordings()
        if (folder is None or first_folder(key) == folder)
        and os.path.islink(f"{store.root}/{key}/{StoredAccuracy.asset}/{CURRENT}")  # noqa: PTH114 - quick
    ]


def _of_rig(store: Store, recordings: Iterable[str], rig: Rig, *, current: bool) -> list[Measurement]:
    found = []
    for key in recordings:
        if first_folder(key) != rig.folder:
            continue
        folder = store.asset_folder(key, StoredAccuracy.asset)
        versions = [(folder / CURRENT).resolve().name] if current else store.versions(key, StoredAccuracy.asset)
        for version in versions:
            try:
                one = Measurement.of(read_manifest(folder / version))
            except (OSError, ValueError):  # removed this moment, or damaged: it says nothing then
                continue
            if one.rig == rig:
                found.append(one)
    return sorted(found, key=lambda one: one.version, reverse=True)
