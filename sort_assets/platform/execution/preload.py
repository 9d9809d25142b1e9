"""Imported once, by the server that run workers and steps are forked from; never by the code location itself."""

import gc
import importlib
import traceback

MODULES = (
    "spikeinterface.core",
    "spikeinterface.preprocessing",
    "spikeinterface.sorters",
    "matplotlib.figure",
    # What opening the Dagster instance imports, two thirds of a second in every step.
    "alembic.context",
    "sqlalchemy.dialects.sqlite",
)

for module in MODULES:
    try:
        importlib.import_module(module)
    except Exception:  # without it the server goes on, and the step that needs the module says so
        traceback.print_exc()

# Otherwise the garbage collector of every process writes into all that was imported, and nothing of it stays shared:
# 53 MB of each process instead of 6.
gc.collect()
gc.freeze()
