"""Results that are only reported to Dagster, as a run reports them: sorting some seconds for each would be too slow."""

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from sort_assets.definitions import defs
from sort_assets.platform.pipeline.assets import pipeline_assets

CODE_VERSIONS = {
    spec.key.to_user_string(): spec.code_version or "" for result in pipeline_assets() for spec in result.specs
}
UPSTREAM = {
    spec.key.to_user_string(): [dep.asset_key.to_user_string() for dep in spec.deps]
    for result in pipeline_assets()
    for spec in result.specs
}


def report_results(
    instance: dg.DagsterInstance,
    key: str,
    *assets: str,
    version: str = "first",
    code_versions: dict[str, str] | None = None,
) -> None:
    """Report materializations, in their order, made from what there is now."""
    for asset in assets or CODE_VERSIONS:
        pointers = {name: _newest(instance, key, name) for name in UPSTREAM[asset]}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset,
                partition=key,
                tags={
                    "dagster/code_version": {**CODE_VERSIONS, **(code_versions or {})}[asset],
                    "dagster/data_version": f"{version}-{asset}",
                    "dagster/data_version_is_user_provided": "true",
                    **{f"dagster/input_data_version/{name}": "0" for name in pointers},
                    **{f"dagster/input_event_pointer/{name}": str(id_ or "NULL") for name, id_ in pointers.items()},
                },
            )
        )


def statuses(instance: dg.DagsterInstance, key: str) -> dict[str, str]:
    """What Dagster's UI says of each result of a recording: fresh, stale or missing."""
    # What the UI's field staleStatus asks. There is no public name.
    resolver = CachingStaleStatusResolver(
        instance, defs.get_repository_def().asset_graph, LoadingContextForTest(instance)
    )
    found = {asset: resolver.get_status(dg.AssetKey(asset), key) for asset in CODE_VERSIONS}
    words = {StaleStatus.FRESH: "fresh", StaleStatus.STALE: "stale", StaleStatus.MISSING: "missing"}
    return {asset: words[status] for asset, status in found.items()}


def _newest(instance: dg.DagsterInstance, key: str, asset: str) -> int | None:
    is_result = asset in CODE_VERSIONS
    event_type = dg.DagsterEventType.ASSET_MATERIALIZATION if is_result else dg.DagsterEventType.ASSET_OBSERVATION
    return instance.get_latest_storage_id_by_partition(dg.AssetKey(asset), event_type, {key}).get(key)
