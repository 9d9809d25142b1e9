"""The assets of the pipeline, one module each, named like the asset.

An asset reads like a table of contents: it opens its input, makes one call of the sorting library, and publishes what
came out with the figures, numbers and checks that its page in Dagster's UI shows.
"""

from importlib import import_module

import dagster as dg

from sort_assets.platform.pipeline.catalog import PIPELINE


def pipeline_assets() -> tuple[dg.AssetsDefinition, ...]:
    """The Dagster assets of the catalogue, in its order: of each module here, the function of the module's name."""
    return tuple(getattr(import_module(f"{__name__}.{name}"), name) for name in PIPELINE)
