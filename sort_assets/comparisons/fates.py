"""What became of each unit, from the spikes that pairs of units share.

The names, with old units *i* and new units *j*:

kept
    *i* and *j* are matched one to one (Hungarian match) with an agreement of at least `MATCH`.
moved
    Kept, but on another place of the probe (decided in `sortings`, which knows places).
split
    At least half of *i*'s spikes are now in two or more new units of which each is mostly made of *i*'s spikes.
merged
    Two or more old units have most of their spikes in *j*, and they are at least half of *j*.
lost, new
    No unit on the other side has that much of it.

A unit that finds again the spikes of one that stays, as duplicates do, is new (or lost), and not a split (or a merge):
parts of a unit do not share spikes with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

Fate = Literal["kept", "moved", "split", "merged", "lost", "new"]
FATES: tuple[Fate, ...] = ("kept", "moved", "split", "merged", "lost", "new")

MATCH = 0.5
"""Agreement from which two units are the same: SpikeInterface's `match_score`."""
CONTAINED = 0.5
"""Part of a unit's spikes that makes it mostly a part of another one; a spike train can have one such whole only."""
LEAST_PART = 0.01
"""Part of the whole unit's spikes below which another one split from it, or merged into it, leaves it kept."""
SAME_SPIKES = 0.5
"""Part of its spikes from which a unit is a duplicate of another one of the same sorting."""

RepeatedWithin = Callable[[int, int], float]
"""The part of the first unit's spikes that the second unit of the same sorting has too, by their indices."""


@dataclass(frozen=True)
class SharedSpikes:
    """Spikes that pairs of units have in common.

    Attributes
    ----------
    matrix : np.ndarray
        Coincident spikes, int64, shape (old units, new units).
    old, new : np.ndarray
        Spikes of each unit, int64, shapes (old units,) and (new units,).
    """

    matrix: np.ndarray
    old: np.ndarray
    new: np.ndarray

    @cached_property
    def agreement(self) -> np.ndarray:
        """Shared spikes over those that either unit has, shape (old units, new units); 0 between empty units."""
        either = self.old[:, None] + self.new[None, :] - self.matrix
        return np.asarray(self.matrix / np.maximum(either, 1))

    @cached_property
    def part_of_old(self) -> np.ndarray:
        """Shared spikes over the old unit's, shape (old units, new units)."""
        return np.asarray(self.matrix / np.maximum(self.old[:, None], 1))

    @cached_property
    def part_of_new(self) -> np.ndarray:
        """Shared spikes over the new unit's, shape (old units, new units)."""
        return np.asarray(self.matrix / np.maximum(self.new[None, :], 1))

    @property
    def swapped(self) -> SharedSpikes:
        """The same, seen from the other sorting."""
        return SharedSpikes(self.matrix.T, self.new, self.old)

    def hungarian_match(self) -> dict[int, int]:
        """New unit by old one, so that the sum of their agreements is largest; only matches of at least `MATCH`."""
        if not self.matrix.size:
            return {}
        from spikeinterface.comparison import comparisontools

        scores = pd.DataFrame(self.agreement)
        matched, _ = comparisontools.make_hungarian_match(scores, MATCH)
        return {int(old): int(new) for old, new in matched.items() if new >= 0}


@dataclass(frozen=True)
class UnitChange:
    """What became of a unit, or of several at once.

    Attributes
    ----------
    fate : str
        One of `FATES`.
    old, new : tuple of int
        Indices of the units: one of each that was kept or moved, one and several of a split, several and one of a
        merge, and one of what was lost or is new.
    """

    fate: Fate
    old: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def swapped(self) -> UnitChange:
        """The same, seen from the other sorting."""
        names: dict[Fate, Fate] = {"split": "merged", "merged": "split", "lost": "new", "new": "lost"}
        return replace(self, fate=names.get(self.fate, self.fate), old=self.new, new=self.old)


def unit_changes(
    shared: SharedSpikes, repeated_in_old: RepeatedWithin, repeated_in_new: RepeatedWithin
) -> list[UnitChange]:
    """What became of every unit of both sortings; each is in exactly one change.

    Parameters
    ----------
    shared : SharedSpikes
    repeated_in_old, repeated_in_new : callable
        Asked about few pairs of units: those that are parts of the same unit on the other side.

    Returns
    -------
    list of UnitChange
        In the order of the old units; then what is new.
    """
    splits = _splits(shared, repeated_in_new)
    merges = [each.swapped for each in _splits(shared.swapped, repeated_in_old)]
    changes: list[UnitChange] = []
    taken_old: set[int] = set()
    taken_new: set[int] = set()

    def take(change: UnitChange) -> None:
        if not (taken_old.intersection(change.old) or taken_new.intersection(change.new)):
            changes.append(change)
            taken_old.update(change.old)
            taken_new.update(change.new)

    # Where a unit takes part in several, the one that accounts for more spikes names it.
    for change in sorted([*splits, *merges], key=lambda each: -_moved_spikes(each, shared)):
        take(change)
    for old, new in shared.hungarian_match().items():
        take(UnitChange("kept", (old,), (new,)))
    for old in range(len(shared.old)):
        take(UnitChange("lost", (old,), ()))
    for new in range(len(shared.new)):
        take(UnitChange("new", (), (new,)))
    return sorted(changes, key=lambda each: (min(each.old, default=len(shared.old)), each.new))


def _splits(shared: SharedSpikes, repeated: RepeatedWithin) -> list[UnitChange]:
    """Old units whose spikes are now in several new ones."""
    contained = (shared.part_of_new >= CONTAINED) & (shared.matrix > 0)
    found = []
    for old in np.flatnonzero(contained.sum(axis=1) >= 2):
        candidates = np.flatnonzero(contained[old])
        largest_first = candidates[np.argsort(-shared.matrix[old, candidates], kind="stable")]
        parts = _without_duplicates(largest_first.tolist(), repeated)
        shares = shared.part_of_old[old, parts]
        apart = shares[1:].sum()  # what has left the largest part
        if len(parts) > 1 and shares.sum() >= CONTAINED and apart >= LEAST_PART:
            found.append(UnitChange("split", (int(old),), tuple(sorted(parts))))
    return found


def _without_duplicates(parts: list[int], repeated: RepeatedWithin) -> list[int]:
    """Of units with the largest share first, those whose spikes none before them has."""
    apart: list[int] = []
    for part in parts:
        if all(repeated(part, other) < SAME_SPIKES for other in apart):
            apart.append(part)
    return apart


def _moved_spikes(change: UnitChange, shared: SharedSpikes) -> int:
    """Spikes that left the largest part, or joined it."""
    each = shared.matrix[np.ix_(change.old, change.new)].ravel()
    return int(each.sum() - each.max())
