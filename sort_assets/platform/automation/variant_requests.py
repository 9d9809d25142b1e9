"""Which recordings variants are tried on, and how their sorts are requested: as a backfill of Dagster's."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id

from sort_assets.config.settings import Roots
from sort_assets.config.variants import Variant
from sort_assets.errors import SortAssetsError
from sort_assets.platform.pipeline.assets import declared_variant_assets, pipeline_assets
from sort_assets.platform.pipeline.jobs import PRIORITY_TAG, VARIANT_PRIORITY
from sort_assets.platform.pipeline.variant_component import RESOURCES
from sort_assets.platform.store.handles import StoredBinary
from sort_assets.platform.store.stored_variant import variant_handle, variant_units_handle
from sort_assets.recordings.key import RecordingKey


@dataclass(frozen=True)
class VariantState:
    """How far a variant has come.

    Attributes
    ----------
    variant : Variant
    sorted : tuple of str
        Recordings of which it has a sorting, with metrics, of the current `.dat`.
    missing : tuple of str
        The others that it chooses, whose `.dat` is there.
    without_dat : tuple of str
        Those that it chooses, whose `.dat` is not there (yet, or any more).
    """

    variant: Variant
    sorted: tuple[str, ...]
    missing: tuple[str, ...]
    without_dat: tuple[str, ...]


def variant_states(roots: Roots, variants: Sequence[Variant], recordings: Sequence[str]) -> list[VariantState]:
    """What was sorted with each variant, and what is missing.

    Parameters
    ----------
    roots : Roots
    variants : sequence of Variant
    recordings : sequence of str
        Keys of recordings.
    """
    dats = {key: _dat(roots, key) for key in recordings}
    paths = {key: RecordingKey.parse(key).path for key in recordings}
    states = []
    for variant in variants:
        chosen = [key for key in recordings if variant.chooses(paths[key])]
        done = [key for key in chosen if dats[key] is not None and _sorted_from(roots, key, variant) == dats[key]]
        without = [key for key in chosen if dats[key] is None]
        missing = [key for key in chosen if key not in done and key not in without]
        states.append(VariantState(variant, tuple(done), tuple(missing), tuple(without)))
    return states


def request_variants(instance: dg.DagsterInstance, missing: Iterable[tuple[Variant, Sequence[str]]]) -> list[str]:
    """Ask Dagster's daemon for sorts with variants, behind everything else; gives the ids of the backfills.

    Parameters
    ----------
    instance : DagsterInstance
    missing : iterable of (Variant, sequence of str)
        Each with the keys of the recordings to sort.
    """
    by_recordings: dict[tuple[str, ...], list[Variant]] = {}
    for variant, keys in missing:
        if keys:
            by_recordings.setdefault(tuple(keys), []).append(variant)
    assets = [*pipeline_assets(), *declared_variant_assets()]
    graph, requested = dg.Definitions(assets=assets, resources=RESOURCES).resolve_asset_graph(), []
    for keys, variants in by_recordings.items():
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=make_new_backfill_id(),
            asset_graph=graph,
            partition_names=list(keys),
            asset_selection=[dg.AssetKey(name) for one in variants for name in (one.asset, one.units_asset)],
            backfill_timestamp=time.time(),
            tags={PRIORITY_TAG: str(VARIANT_PRIORITY)},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=f"Variants: {', '.join(one.name for one in variants)}"[:100],
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)
        requested.append(backfill.backfill_id)
    return requested


def _dat(roots: Roots, key: str) -> str | None:
    try:
        return StoredBinary(roots, key).manifest.version
    except SortAssetsError:
        return None


def _sorted_from(roots: Roots, key: str, variant: Variant) -> str | None:
    """The version of the `.dat` of which the variant has a sorting with metrics."""
    try:
        units = variant_units_handle(variant.units_asset)(roots, key)
        sorting = variant_handle(variant.asset)(roots, key)
        if units.upstream_version(variant.asset) != sorting.manifest.version or not _as_declared(
            sorting.manifest.config, variant
        ):
            return None
        return sorting.upstream_version(StoredBinary.asset)
    except SortAssetsError:
        return None


def _as_declared(config: Mapping[str, object], variant: Variant) -> bool:
    """Whether a sorting was made with what the variant says now."""
    made = config.get("sorter")
    if not isinstance(made, Mapping):
        return False
    params = {**(made.get("params") or {}), **variant.sorter.get("params", {})}
    return {**made, **variant.sorter, "params": params} == {**made, "params": made.get("params") or {}}
