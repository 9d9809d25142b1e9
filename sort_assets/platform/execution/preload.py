"""Imported once by the server that step processes are forked from; never by the code location itself."""

import importlib

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
    importlib.import_module(module)
