"""Imported once, by the server that run workers and steps are forked from; never by the code location itself."""

import gc
import importlib
import traceback

from sort_assets.platform.execution.sqlite_storage import read_migrations

MODULES = (
    "spikeinterface.comparison",
    "spikeinterface.core",
    "spikeinterface.curation",
    "spikeinterface.preprocessing",
    "spikeinterface.sorters",
    "spikeinterface.widgets",
    "sort_assets.curation",
    "sort_assets.exports",
    "sort_assets.figures",
    "sort_assets.metrics",
    "sort_assets.recordings",
    "sort_assets.reports",
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pynwb",
    "scipy.signal",
    "scipy.spatial",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.decomposition",
    "sklearn.neighbors",
    # What opening the Dagster instance imports, most of a second in every step.
    "alembic.context",
    "sqlalchemy.dialects.sqlite",
    "dagster._core.storage.sqlite_storage",
    "upath.core",
)

for module in MODULES:
    try:
        importlib.import_module(module)
    except Exception:  # without it the server goes on, and the step that needs the module says so
        traceback.print_exc()

read_migrations()

# Otherwise the garbage collector of every process writes into all that was imported, and nothing of it stays shared:
# 53 MB of each process instead of 6.
gc.collect()
gc.freeze()
