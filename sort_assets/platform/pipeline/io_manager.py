"""How Dagster hands artefacts from one asset to the next: as handles on the version that was materialized."""

from typing import Any

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.platform.pipeline.catalog import pipeline_asset
from sort_assets.platform.pipeline.failure_rendering import render_failures
from sort_assets.platform.store.handles import Handle
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.visible_versions import wait_until_visible

VERSION_METADATA = "version"
_RECENT = 20


class HandleIOManager(dg.IOManager):
    """Gives each asset a handle on its upstream's artefact. Assets publish their artefacts themselves."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        raise dg.DagsterInvariantViolationError(
            f"{context.asset_key.to_user_string()} must publish into the store and return a MaterializeResult."
        )

    def load_input(self, context: dg.InputContext) -> Handle:
        """The handle on the version that this run materialized, else the one that was materialized last."""
        with render_failures():
            recording = context.partition_key
            records = context.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[recording]), limit=_RECENT
            ).records
            run_id = context.step_context.run_id
            of_this_run = [record for record in records if record.run_id == run_id]
            version = None
            for record in (of_this_run or list(records))[:1]:
                materialization = record.asset_materialization
                if materialization is not None and VERSION_METADATA in materialization.metadata:
                    version = str(materialization.metadata[VERSION_METADATA].value)
            asset, roots = context.asset_key.to_user_string(), Roots.from_environment()
            if version is not None:
                wait_until_visible(Store(roots.store), recording, asset, version, context.log.info)
            return pipeline_asset(asset).handle(roots, recording, version)
