"""The code location is imported again and again, by the UI, the daemon and each run: it stays light."""

import importlib.util
import subprocess
import sys

import pytest

from benchmarks.import_cost import rows
from sort_assets.platform.execution.fork_server import PRELOADED_MODULES

HEAVY = {"torch", "kilosort", "spikeinterface", "matplotlib", "numpy", "pandas", "scipy"}
ENGINES = {"ray", "dagster_ray", "kubernetes", "dagster_k8s", "dagster_postgres", "psycopg2"}


def _python(code: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)


def _imported_packages(code: str) -> set[str]:
    """Top-level packages that are imported by a fresh process."""
    lines = _python(code, "-X", "importtime").stderr.splitlines()
    modules = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")]
    return {module.partition(".")[0] for module in modules}


def test_the_definitions_import_no_heavy_package() -> None:
    imported = _imported_packages("import sort_assets.definitions")

    assert {"sort_assets", "dagster"} <= imported
    assert all(importlib.util.find_spec(package) for package in HEAVY)  # else it would prove nothing
    assert imported & (HEAVY | ENGINES) == set()


@pytest.mark.slow
def test_what_steps_are_forked_from_imports_neither_torch_nor_kilosort() -> None:
    imported = _imported_packages("; ".join(f"import {module}" for module in PRELOADED_MODULES))

    assert {"sort_assets", "spikeinterface", "matplotlib"} <= imported
    assert imported & {"torch", "kilosort"} == set()


@pytest.mark.alone
def test_importing_the_definitions_takes_little_longer_than_importing_dagster() -> None:
    (row,) = rows("full")

    assert row.reached, f"{row.figure:.3f}; {row.note}"
