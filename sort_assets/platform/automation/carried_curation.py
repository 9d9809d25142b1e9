"""What a person decided of an earlier sorting, as suggestions for the units of the present one that are the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import CurationError
from sort_assets.platform.automation.manual_curation import working_folder
from sort_assets.platform.pipeline.manual_decisions import manual_curation_of
from sort_assets.platform.store.handles import StoredSorting, read_sorting
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting

    from sort_assets.comparisons.sortings import SortingComparison
    from sort_assets.curation.history import UnitId
    from sort_assets.curation.manual import ManualCuration, ManualDecision


@dataclass(frozen=True)
class CarriedDecision:
    """A person's decision about a unit of the earlier sorting, and what it means for the present one.

    Attributes
    ----------
    before : str
        The unit that the person decided on, after the person's merges and splits.
    decision : str
        The label, "removed", or how the person made the unit.
    fate : str
        What became of the unit.
    now : tuple of str
        The units of the present sorting in which it is found again.
    agreement : float or None
        With the one that has most of it.
    suggested : bool
        Whether the suggestions have it.
    """

    before: str
    decision: str
    fate: str
    now: tuple[str, ...]
    agreement: float | None
    suggested: bool


@dataclass(frozen=True)
class CarriedCuration:
    """A person's decisions, carried over to the present sorting.

    Attributes
    ----------
    recording, user : str
        Whose units, and who decided.
    decisions : tuple of CarriedDecision
    curation : dict
        The suggestions in SpikeInterface's curation format, of the units of the present sorting.
    path : Path
        The file that has them.
    """

    recording: str
    user: str
    decisions: tuple[CarriedDecision, ...]
    curation: dict[str, Any]
    path: Path


def carry_over(instance: dg.DagsterInstance, roots: Roots, recording: str, path: Path | None = None) -> CarriedCuration:
    """Write what a person decided of an earlier sorting as suggestions for the present one; applies nothing.

    Labels and removals are suggested for units that are matched one to one. A unit that the person had merged, and that
    was found in parts again, is suggested to be merged. Other decisions are listed only.

    Parameters
    ----------
    instance : dg.DagsterInstance
    roots : Roots
    recording : str
        The recording's key.
    path : Path or None
        The file to write; None takes one in the store's folder for manual curation.

    Raises
    ------
    CurationError
        When nobody has curated the recording, the present units are those that were curated, the sorting that was
        curated is gone, or the file exists with other content.
    """
    from sort_assets.comparisons.sortings import ComparedSorting, compare_sortings

    stored = manual_curation_of(instance, roots, recording)
    manual = None if stored is None else stored.load()
    if manual is None:
        raise CurationError(
            f"Nobody has curated the units of '{recording}' by hand, or the curation was withdrawn.",
            remedy="Export the units with `sort-assets export-phy`, and decide.",
        )
    present = StoredSorting(roots, recording)
    units = present.load()
    if manual.is_about(units):
        raise CurationError(
            f"The present units of '{recording}' are those that {manual.user} has curated: there is nothing to carry "
            "over.",
            remedy="Materialize curated_units to apply what was decided.",
        )
    earlier = _curated_sorting(roots, recording, manual)
    found = compare_sortings(
        ComparedSorting(_units_of(manual, earlier), earlier.details.duration_s),
        ComparedSorting(units, present.details.duration_s),
    )
    decisions, curation = suggestions(manual, found, units)
    path = path or working_folder(roots, recording).parent / f"carried-over-{present.manifest.version}.json"
    _write(path, curation)
    return CarriedCuration(recording, manual.user, tuple(decisions), curation, path)


def suggestions(
    manual: ManualCuration, found: SortingComparison, units: BaseSorting
) -> tuple[list[CarriedDecision], dict[str, Any]]:
    """What a person's decisions mean for other units.

    Parameters
    ----------
    manual : ManualCuration
    found : SortingComparison
        The units that the person's steps led to, against `units`.
    units : BaseSorting

    Returns
    -------
    list of CarriedDecision
        Of each unit of which the person decided something.
    dict
        In SpikeInterface's curation format.
    """
    from sort_assets.curation.history import curation_of, new_unit_ids, plain_ids
    from sort_assets.curation.manual import manual_decisions

    ids = {str(unit_id): unit_id for unit_id in plain_ids(units)}
    labels: dict[UnitId, dict[str, list[str]]] = {}
    removed: list[UnitId] = []
    groups: list[list[UnitId]] = []
    carried = []
    for unit_id, decision in manual_decisions(manual).items():
        before = str(unit_id)
        if before not in found.old_fates or not _words(decision):
            continue
        fate = found.old_fates[before]
        of_unit = found.pairs[found.pairs["old_unit"] == before]
        now = tuple(of_unit["new_unit"].dropna())
        same = fate in ("kept", "moved")
        in_parts = fate == "split" and decision.by_person and decision.made.startswith("Merged")
        if same or in_parts:
            labels |= {ids[each]: decision.labels for each in now if decision.labels}
            removed += [ids[each] for each in now if decision.removed]
        if in_parts:
            groups.append([ids[each] for each in now])
        agreement = of_unit["agreement"].dropna()
        largest = float(agreement.max()) if len(agreement) else None
        carried.append(CarriedDecision(before, _words(decision), fate, now, largest, same or in_parts))
    names = new_unit_ids(list(ids.values()), len(groups), "manual")
    curation = curation_of(list(ids.values()), removed=removed, merges=dict(zip(names, groups, strict=True)))
    curation["label_definitions"] = _definitions(labels)
    curation["manual_labels"] = [{"unit_id": unit_id, "labels": dict(said)} for unit_id, said in labels.items()]
    return carried, curation


def _words(decision: ManualDecision) -> str:
    """The decision in words; empty where the person left it open."""
    made = decision.made if decision.by_person else ""
    return "; ".join(filter(None, (decision.label, made)))


def _definitions(labels: dict[UnitId, dict[str, list[str]]]) -> dict[str, Any]:
    options: dict[str, set[str]] = {}
    for said in labels.values():
        for category, words in said.items():
            options.setdefault(category, {"good", "noise"}).update(words)
    return {
        category: {"name": category, "label_options": sorted(words), "exclusive": False}
        for category, words in options.items()
    }


def _curated_sorting(roots: Roots, recording: str, manual: ManualCuration) -> StoredSorting:
    """The newest version of the sorting that the person saw."""
    for version in reversed(Store(roots.store).versions(recording, StoredSorting.asset)):
        sorting = StoredSorting(roots, recording, version)
        if manual.is_about(sorting.load()):
            return sorting
    raise CurationError(
        f"The sorting of '{recording}' that {manual.user} curated on {manual.made_at:%Y-%m-%d} is not in the store any "
        "more, so nobody can say which of the present units are the same.",
        remedy="Curate the present units: sort-assets export-phy. SORT_ASSETS_KEEP says how many versions are kept.",
    )


def _units_of(manual: ManualCuration, sorting: StoredSorting) -> BaseSorting:
    """The units that the person's merges and splits led to."""
    from sort_assets.curation.history import restructure

    units: BaseSorting = read_sorting(sorting.path)
    for step in manual.steps:
        units = restructure(units, step.curation, censor_ms=step.censor_ms)
    sorting.set_times(units)
    return units


def _write(path: Path, curation: dict[str, Any]) -> None:
    text = json.dumps(curation, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise CurationError(
            f"'{path}' exists with other content, which may be somebody's work.",
            remedy="Name another file with --file, or remove it.",
            path=str(path),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
