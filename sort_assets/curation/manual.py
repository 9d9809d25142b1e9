"""What a person decided of units, in one form whatever program it was done with."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from sort_assets.curation.history import (
    COINCIDENCE_MS,
    CurationHistory,
    HistoryStep,
    UnitId,
    curation_of,
    hash_spikes,
    ids_after,
    new_unit_ids,
    plain_ids,
)
from sort_assets.errors import CurationError

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting
    from spikeinterface.curation.curation_model import Curation, Split

QUALITY = "quality"
"""The category of labels that decides in the curations of spikeinterface-gui; where it is missing, all decide."""
_REJECTING = frozenset({"noise", "artifact", "artefact", "reject", "rejected", "bad"})
_KEEPING = frozenset({"good", "accept", "accepted"})
_UNDECIDED = frozenset({"", "unsorted"})

Source = Literal["phy", "json"]


class ManualCuration(BaseModel):
    """A person's decisions about the units of one sorting; plain JSON.

    Attributes
    ----------
    user : str
        Who decided.
    made_at : datetime
        When it was read.
    source : "phy" or "json"
        A Phy folder, or a file in SpikeInterface's curation format.
    path : str
        The folder or file that was read.
    data_version : str
        Data version of the sorting that the person saw; empty when unknown.
    unit_ids : list of int or str
        The units that the person saw.
    spikes : str
        Hash of their spike trains (`history.hash_spikes`).
    steps : list of HistoryStep
        Splits, merges, removals and labels, in their order.
    notes : list of str
        Sentences on what was left out of what was read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    format_version: Literal[1] = 1
    user: str
    made_at: datetime
    source: Source
    path: str
    data_version: str = ""
    unit_ids: list[UnitId]
    spikes: str
    steps: list[HistoryStep]
    notes: list[str] = []

    def is_about(self, sorting: BaseSorting) -> bool:
        """Whether the person saw these very units and spikes."""
        return plain_ids(sorting) == self.unit_ids and hash_spikes(sorting) == self.spikes

    def after(self, history: CurationHistory, earlier: ManualCuration | None = None) -> ManualCuration:
        """The same decisions, said of the units that the sorter found.

        What a person sees are the units after the merges and splits of an earlier curation. These become part of the
        person's curation, so that it holds whatever is merged automatically another time.

        Parameters
        ----------
        history : CurationHistory
            Of the curated units that the person saw.
        earlier : ManualCuration or None
            The person's curation that is in that history, which this one continues.

        Raises
        ------
        CurationError
            When the person saw other units.
        """
        before = earlier.steps if earlier is not None else [each for each in history.steps if _changes_units(each)]
        ids = history.unit_ids
        for step in before:
            ids = ids_after(ids, step.curation)
        if ids != self.unit_ids:
            raise CurationError(
                f"The curation in '{self.path}' is not about the units that were curated before it.",
                remedy="Keep it. Export the present units into another folder (`sort-assets export-phy --folder`), and "
                "repeat there what was decided.",
                path=self.path,
            )
        return self.model_copy(
            update={"unit_ids": history.unit_ids, "spikes": history.spikes, "steps": [*before, *self.steps]}
        )


def _changes_units(step: HistoryStep) -> bool:
    return bool(step.curation["merges"] or step.curation["splits"])


@dataclass(frozen=True)
class ManualDecision:
    """What a person said of one unit.

    Attributes
    ----------
    labels : dict
        Labels by category.
    removed : bool
        Whether the person took the unit out.
    made : str
        How the unit was made from others; empty when the sorter found it.
    by_person : bool
        Whether a person made it, and not a merge that the curation found when the person saw the units.
    user : str
        Who spoke last.
    """

    labels: dict[str, list[str]] = field(default_factory=dict)
    removed: bool = False
    made: str = ""
    by_person: bool = True
    user: str = ""

    @property
    def label(self) -> str:
        """The labels that decide, in lower case; empty when the person left it open."""
        if self.removed:
            return "removed"
        categories = [QUALITY] if QUALITY in self.labels else list(self.labels)
        said = [label.strip().lower() for category in categories for label in self.labels[category]]
        return ", ".join(label for label in dict.fromkeys(said) if label not in _UNDECIDED)

    @property
    def keeps(self) -> bool | None:
        """True or False when the person's label decides; None leaves the automatic decision as it is.

        "mua" and what else a lab may write decides nothing: multi-unit activity is kept when it meets the criteria.
        """
        labels = set(self.label.split(", "))
        if self.removed or labels & _REJECTING:
            return False
        return True if labels & _KEEPING else None


def manual_decisions(manual: ManualCuration) -> dict[UnitId, ManualDecision]:
    """What the person said of each unit after all steps; units that were left alone are not in it.

    A unit that was merged keeps the labels that all of its parts share, as SpikeInterface does; parts of a split unit
    keep its labels.
    """
    decisions: dict[UnitId, ManualDecision] = {}
    for step in manual.steps:
        curation, person = step.curation, step.made_by.get("person")
        user = str(person or manual.user)
        maker = f"by {person}" if person else "automatically"
        for said in curation["manual_labels"]:
            decision = decisions.get(said["unit_id"], ManualDecision())
            # Whoever labels a unit that was taken out before has it back.
            decisions[said["unit_id"]] = replace(
                decision, labels={**decision.labels, **said["labels"]}, removed=False, user=user
            )
        for unit_id in curation["removed"]:
            decisions[unit_id] = replace(decisions.get(unit_id, ManualDecision()), removed=True, user=user)
        for merge in curation["merges"]:
            parts = [decisions.pop(unit_id, ManualDecision()) for unit_id in merge["unit_ids"]]
            shared = {
                category: labels
                for category, labels in parts[0].labels.items()
                if all(part.labels.get(category) == labels for part in parts)
            }
            made = f"Merged of {', '.join(map(str, merge['unit_ids']))} {maker}"
            decisions[merge["new_unit_id"]] = ManualDecision(shared, made=made, by_person=bool(person), user=user)
        for split in curation["splits"]:
            decision = decisions.pop(split["unit_id"], ManualDecision())
            made = f"Split from {split['unit_id']} {maker}"
            for new in split["new_unit_ids"]:
                decisions[new] = ManualDecision(decision.labels, made=made, by_person=bool(person), user=user)
    return decisions


def current_user() -> str:
    """The name of who runs this process; "unknown" where the system has none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def from_curation_json(
    path: Path, sorting: BaseSorting, *, user: str | None = None, data_version: str = ""
) -> ManualCuration:
    """Read a curation in SpikeInterface's format, as spikeinterface-gui and sortingview write it.

    Parameters
    ----------
    path : Path
        The JSON file: version 1 or 2 of the format, or the older one of sortingview.
    sorting : BaseSorting
        The units that it is about. Units that the file does not name stay as they are.
    user : str or None
        Who decided; None takes the name of the user of this process.
    data_version : str
        Of the sorting.

    Returns
    -------
    ManualCuration

    Raises
    ------
    CurationError
        When the file can't be read, or is about other units.
    """
    model = _read_model(path)
    ids = plain_ids(sorting)
    known = {str(unit_id): unit_id for unit_id in ids}
    unknown = [str(unit_id) for unit_id in model.unit_ids if str(unit_id) not in known]
    if unknown:
        raise CurationError(
            f"'{path}' is about units that the sorting does not have: {', '.join(unknown[:20])}.",
            remedy="Name the recording that it was made for. If that was sorted or curated again since, repeat on its "
            "present units what was decided, and keep the file.",
            unknown=len(unknown),
        )
    merged = [[known[str(unit_id)] for unit_id in merge.unit_ids] for merge in model.merges or []]
    _check_said_once(path, model, merged)
    splits = {known[str(split.unit_id)]: _parts(path, split, sorting, known) for split in model.splits or []}
    asked = [merge.new_unit_id for merge in model.merges or []]
    asked += [
        new for split, parts in zip(model.splits or [], splits.values(), strict=True) for new in _asked(split, parts)
    ]
    names = _names(asked, ids)
    merges = dict(zip(names, merged, strict=False))
    named_parts = {}
    rest = iter(names[len(merged) :])
    for unit_id, parts in splits.items():
        named_parts[unit_id] = {next(rest): part for part in parts}

    removed = list(dict.fromkeys(known[str(unit_id)] for unit_id in model.removed or []))
    words = curation_of(ids, removed=removed)
    words["label_definitions"] = {name: each.model_dump() for name, each in (model.label_definitions or {}).items()}
    words["manual_labels"] = [
        {"unit_id": known[str(each.unit_id)], "labels": each.labels} for each in model.manual_labels or []
    ]
    user = user or current_user()
    made_by = {"person": user, "file": str(path)}
    steps = [HistoryStep(title="Labels and removals by hand", made_by=made_by, curation=words)]
    if merges or named_parts:
        structure = curation_of(ids, merges=merges, splits=named_parts)
        steps.append(
            HistoryStep(
                title="Merges and splits by hand",
                made_by=made_by,
                curation=structure,
                censor_ms=COINCIDENCE_MS if merges else None,
            )
        )
    return ManualCuration(
        user=user,
        made_at=datetime.now(UTC),
        source="json",
        path=str(path),
        data_version=data_version,
        unit_ids=ids,
        spikes=hash_spikes(sorting),
        steps=steps,
    )


def _read_model(path: Path) -> Curation:
    from spikeinterface.curation.curation_model import Curation

    try:
        content = path.read_bytes()
    except OSError as error:
        raise CurationError(
            f"'{path}' can't be read: {error.strerror}.",
            remedy="Check the path, and that the user who runs sort_assets may read the file.",
            path=str(path),
        ) from error
    try:
        values = json.loads(content)  # finds out the encoding, too
        if not isinstance(values, dict):
            raise TypeError("it is no JSON object")
        # SpikeInterface prints that it converts the oldest version.
        with contextlib.redirect_stdout(io.StringIO()):
            return Curation(**values)
    # Its validators index and iterate what the file holds before pydantic has looked at it.
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CurationError(
            f"'{path}' is not a curation in SpikeInterface's format: {what}.",
            remedy="Correct what is named, or save the curation again with the program that made it.",
            path=str(path),
        ) from error


def _check_said_once(path: Path, model: Curation, merged: list[list[UnitId]]) -> None:
    """Refuse what SpikeInterface's format does not: a unit that is merged with itself, or labelled in two ways."""
    said: dict[tuple[str, str], list[str]] = {}
    problems = [
        f"it merges unit {unit_id} with itself" for units in merged for unit_id in units if units.count(unit_id) > 1
    ]
    for each in model.manual_labels or []:
        for category, labels in each.labels.items():
            before = said.setdefault((str(each.unit_id), category), labels)
            if before != labels:
                ways = f"{', '.join(before)} and {', '.join(labels)}"
                problems.append(f"it labels unit {each.unit_id} twice in '{category}', as {ways}")
    if problems:
        raise CurationError(
            f"'{path}' can't be followed: {problems[0]}.",
            remedy="Correct what is named in the file; keep the rest of it.",
            path=str(path),
        )


def _parts(path: Path, split: Split, sorting: BaseSorting, known: dict[str, UnitId]) -> list[list[int]]:
    """Indices into the unit's spikes, of each part."""
    import numpy as np

    unit_id = known[str(split.unit_id)]
    count = sorting.count_num_spikes_per_unit()[unit_id]
    if split.mode == "labels":
        labels = np.asarray(split.labels)
        parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        fits = len(labels) == count
    else:
        parts = [np.asarray(indices, dtype=int) for indices in split.indices or []]
        given = np.concatenate(parts)
        fits = bool(((given >= 0) & (given < count)).all())
        rest = np.setdiff1d(np.arange(count), given)
        parts += [rest] if len(rest) and fits else []
    if not fits or len(parts) < 2 or not all(map(len, parts)):
        raise CurationError(
            f"'{path}' splits unit {unit_id} in a way that does not fit its {count} spikes.",
            remedy="Name the recording that it was made for. If that was sorted or curated again since, split its "
            "present units, and keep the file.",
            unit=str(unit_id),
            spikes=count,
        )
    return [part.tolist() for part in parts]


def _asked(split: Split, parts: list[list[int]]) -> list[UnitId | None]:
    """The ids that the file gives to the parts of a split unit."""
    given = list(split.new_unit_ids or [])
    return given if len(given) == len(parts) else [None] * len(parts)


def _names(asked: list[UnitId | None], ids: list[UnitId]) -> list[UnitId]:
    """Ids of new units, of the same type as the others: those that were asked for, where they are free."""
    as_known = int if ids and all(isinstance(unit_id, int) for unit_id in ids) else str
    names: list[UnitId | None] = []
    for each in asked:
        usable = each is not None and (as_known is str or str(each).isdecimal())
        name = as_known(each) if usable else None  # type: ignore[arg-type]
        names.append(None if name in ids or name in names else name)
    taken = [*ids, *(name for name in names if name is not None)]
    free = iter(new_unit_ids(taken, names.count(None), "manual"))
    return [next(free) if name is None else name for name in names]
