"""Which machine and which versions a figure belongs to."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from sort_assets.machine.cores import usable_cores

PACKAGES = ("sort-assets", "numpy", "scipy", "numba", "spikeinterface", "kilosort", "torch", "dagster")
CHECKOUT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, str | int | float]:
    """The machine in words and numbers."""
    return {
        "cores": os.cpu_count() or 1,
        "usable cores": usable_cores(),
        "model": _model(),
        "memory GB": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Python, the packages that do the work, and the commit of this checkout."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"commit": _commit()}


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _commit() -> str:
    """The commit, with what is changed since then said; empty where this is no checkout of git."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=, and what is not committed", "--abbrev=10", "--exclude=*"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()
