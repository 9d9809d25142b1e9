"""The sensor `variants_tried`: the page of a recording's variants is made again when one of them was tried."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError

from sort_assets.config.variant_names import folder_with_variants
from sort_assets.platform.pipeline.jobs import compare_variants

if TYPE_CHECKING:
    from sort_assets.config.variants import Variant

NAME = "variants_tried"
_INTERVAL_S = 30
_AT_A_TICK = 200


class PagesState(BaseModel):
    """The sensor's cursor.

    Attributes
    ----------
    covered : dict
        By asset, its newest materialization that has led to a page.
    """

    model_config = ConfigDict(defer_build=True)

    covered: dict[str, int] = {}

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "PagesState":
        """The state in a cursor; an empty one for a cursor of something else."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()


def tick(
    instance: dg.DagsterInstance, variants: "Sequence[Variant]", state: PagesState
) -> tuple[list[dg.RunRequest], PagesState]:
    """The recordings of which a variant was tried since the last tick, and the state for the next one.

    Parameters
    ----------
    instance : DagsterInstance
    variants : sequence of Variant
    state : PagesState
    """
    covered, newest = dict(state.covered), dict[str, int]()
    for variant in variants:
        after = covered.get(variant.units_asset)
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(variant.units_asset), after_storage_id=after)
        found = instance.fetch_materializations(wanted, limit=_AT_A_TICK, ascending=True).records
        for record in found:
            covered[variant.units_asset] = record.storage_id
            if record.partition_key is not None:
                newest[record.partition_key] = max(newest.get(record.partition_key, 0), record.storage_id)
    requests = [dg.RunRequest(run_key=f"{key}-{number}", partition_key=key) for key, number in sorted(newest.items())]
    return requests, PagesState(covered=covered)


def variant_sensors() -> list[dg.SensorDefinition]:
    """The sensor, where variants are declared."""
    folder = folder_with_variants()
    if folder is None:
        return []
    from sort_assets.config.variants import declared_variants

    declared = declared_variants(folder).all
    if not declared:
        return []

    @dg.sensor(
        name=NAME,
        job=compare_variants,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes sorting_variants, the page of a recording's variants, when a variant of it was tried.",
    )
    def variants_tried(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        requests, state = tick(context.instance, declared, PagesState.from_cursor(context.cursor))
        return dg.SensorResult(run_requests=requests, cursor=state.model_dump_json())

    return [variants_tried]
