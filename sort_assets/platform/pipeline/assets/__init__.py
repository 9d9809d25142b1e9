"""The assets of the pipeline, one module each, named like the asset.

An asset reads like a table of contents: it opens its input, makes one call of the sorting library, and publishes what
came out with the figures, numbers and checks that its page in Dagster's UI shows.
"""

from importlib import import_module

import dagster as dg

from sort_assets.config.variant_names import folder_with_variants
from sort_assets.platform.pipeline.catalog import ON_DEMAND, PIPELINE


def pipeline_assets() -> tuple[dg.AssetsDefinition, ...]:
    """The Dagster assets of the catalogue, in its order: of each module here, the function of the module's name."""
    return tuple(map(_asset, PIPELINE))


def on_demand_assets() -> tuple[dg.AssetsDefinition, ...]:
    """The same of what is made only when somebody asks for it."""
    return tuple(_asset(one.name) for one in ON_DEMAND)


def declared_variant_assets() -> list[dg.AssetsDefinition]:
    """Those of the declared variants; what is wrong with a declaration is logged, and leaves the others."""
    folder = folder_with_variants()
    if folder is None:
        return []
    from sort_assets.config.variants import declared_variants
    from sort_assets.platform.pipeline.assets.variants import variant_assets

    declared = declared_variants(folder)
    for problem in declared.problems.values():
        dg.get_dagster_logger().warning(str(problem))
    return [asset for variant in declared.all for asset in variant_assets(variant)]


def _asset(name: str) -> dg.AssetsDefinition:
    asset: dg.AssetsDefinition = getattr(import_module(f"{__name__}.{name}"), name)
    return asset
