"""A recording's own sorting beside its variants: what is there, what became of the units, and who agrees on which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sort_assets.config.settings import Roots, variants_folder
from sort_assets.config.variant_names import UNITS_SUFFIX, VARIANT_PREFIX
from sort_assets.config.variants import declared_variants
from sort_assets.errors import SortAssetsError
from sort_assets.platform.pipeline.compared_sortings import Compared, open_sorting
from sort_assets.platform.store.failures import failed_attempts, was_made_good
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_hybrid import StoredAccuracy, StoredHybrid
from sort_assets.platform.store.stored_variant import StoredVariant, variant_handle, variant_units_handle
from sort_assets.recordings.key import RecordingKey

if TYPE_CHECKING:
    from sort_assets.comparisons.sortings import ComparedSorting
    from sort_assets.hybrid.accuracy import UnitAccuracy
    from sort_assets.reports.variants_report import TriedSorting

OWN = "own sorting"
"""The name of the recording's own sorting among its variants."""


@dataclass(frozen=True)
class RecordingVariants:
    """What there is of a recording's variants.

    Attributes
    ----------
    own : Compared
        The recording's own sorting.
    variants : dict of str to StoredVariant
        Those of the same `.dat`, by name.
    failed : dict of str to str
        Why others have no sorting, by name.
    other_dat : list of str
        Those whose sorting is of another `.dat`.
    missing : list of str
        Those that are declared for the recording, and of which there is neither a sorting nor a failure.
    """

    own: Compared
    variants: Mapping[str, StoredVariant] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    other_dat: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def find_variants(sorting: StoredSorting) -> RecordingVariants:
    """Open a recording's own sorting and what was sorted with variants, also with those that are no longer declared.

    Parameters
    ----------
    sorting : StoredSorting
        The recording's own.

    Raises
    ------
    MissingArtefactError
        When retention removed it.
    """
    roots, recording = sorting.roots, sorting.recording
    store = Store(roots.store)
    variants: dict[str, StoredVariant] = {}
    failed: dict[str, str] = {}
    other_dat = []
    dat = sorting.binary_dat.input_version.data_version
    for asset in sorted(store.assets(recording)):
        if not asset.startswith(VARIANT_PREFIX) or asset.endswith(UNITS_SUFFIX):
            continue
        name = asset.removeprefix(VARIANT_PREFIX)
        not_good = [one for one in failed_attempts(store, recording, asset) if not was_made_good(store, one)]
        if not_good:
            failed[name] = str(not_good[-1].error)
        variant = variant_handle(asset)(roots, recording)
        try:
            same = variant.manifest.inputs["binary_dat"].data_version == dat
        except SortAssetsError:
            continue
        if same:
            variants[name] = variant
        else:
            other_dat.append(name)
    own = open_sorting(roots, recording, sorting.manifest.version)
    path = RecordingKey.parse(recording).path
    known = {*variants, *failed, *other_dat}
    declared = declared_variants(variants_folder()).all
    missing = [one.name for one in declared if one.chooses(path) and one.name not in known]
    return RecordingVariants(own, variants, failed, other_dat, missing)


def compared_units(sorting: StoredSorting, variant: StoredVariant) -> tuple[ComparedSorting, frozenset[str] | None]:
    """A variant's units for a comparison, with what is known of them, and which pass the recording's criteria.

    Parameters
    ----------
    sorting : StoredSorting
        The recording's own, of the same `.dat`, whose times the units get.
    variant : StoredVariant
    """
    from sort_assets.comparisons.sortings import ComparedSorting

    found, duration_s = variant.load(), variant.details.duration_s
    sorting.set_times(found)
    units = variant_units_handle(f"{variant.asset}{UNITS_SUFFIX}")(variant.roots, variant.recording)
    try:
        if units.upstream_version(variant.asset) != variant.manifest.version:
            return ComparedSorting(found, duration_s), None
        decisions = units.decisions()
        kept = frozenset(str(unit) for unit in decisions.index[decisions["kept"].to_numpy(bool)])
        return ComparedSorting(found, duration_s, units.load(), analyzer=units.load_analyzer()), kept
    except SortAssetsError:
        return ComparedSorting(found, duration_s), None


def describe_own(sorting: StoredSorting, own: Compared) -> TriedSorting:
    """The recording's own sorting, as a line of the page."""
    from sort_assets.reports.variants_report import TriedSorting

    return TriedSorting(
        name=OWN,
        differs=own.name,
        units=len(own.units.unit_ids),
        kept=None if own.kept is None else len(own.kept),
        minutes=_minutes(sorting),
        device=sorting.details.device,
        injected=_own_accuracy(sorting.roots, sorting),
    )


def describe_variant(
    variant: StoredVariant, own: Compared, units: ComparedSorting, kept: frozenset[str] | None
) -> TriedSorting:
    """A variant, as a line of the page: what became of the units of the recording's own sorting in it."""
    from sort_assets.comparisons.sortings import compare_sortings
    from sort_assets.reports.variants_report import TriedSorting

    found = compare_sortings(own.units, units, pitch_um=own.pitch_um)
    judged = frozenset(found.old_fates) if own.kept is None else own.kept
    details = variant.details
    return TriedSorting(
        name=variant.asset.removeprefix(VARIANT_PREFIX),
        differs=details.differs,
        units=details.num_units,
        kept=None if kept is None else len(kept),
        still_there=len(judged.intersection(found.persisting)),
        of=len(judged),
        new=found.counts["new"],
        minutes=_minutes(variant),
        device=details.device,
        injected=tuple(details.accuracy),
    )


def _minutes(made: StoredSorting | StoredVariant) -> float | None:
    cost = made.manifest.cost
    return None if cost is None else (cost.wall_s - cost.waited_s) / 60


def _own_accuracy(roots: Roots, sorting: StoredSorting) -> tuple[UnitAccuracy, ...]:
    """What became of injected units, where they were sorted as this very sorting was."""
    accuracy = StoredAccuracy(roots, sorting.recording)
    try:
        hybrid = StoredHybrid(roots, sorting.recording)
        is_current = accuracy.upstream_version(StoredHybrid.asset) == hybrid.manifest.version
        same = accuracy.manifest.config.get("sorter") == sorting.manifest.config.get("sorter")
        return tuple(accuracy.units) if is_current and same else ()
    except SortAssetsError:
        return ()
