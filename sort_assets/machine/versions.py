"""Packages that do not work together, found without importing any of them."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from sort_assets.checks.result import CheckResult, Severity, failed, ok, warning
from sort_assets.errors import IncompatibleVersionsError

_MAXWELL_PLUGIN = "libcompression.so"


@dataclass(frozen=True)
class BrokenVersions:
    """Versions that are known to break a sorter.

    Attributes
    ----------
    sorter : str
        The sorter that is affected.
    versions : dict of str to str
        From package to the versions, as requirements state them; all must be met.
    severity : {"warn", "error"}
    what, remedy : str
    """

    sorter: str
    versions: dict[str, str]
    severity: Severity
    what: str
    remedy: str


BROKEN = (
    # spikeinterface/sorters/external/kilosort4.py (0.105.3) refuses these two.
    BrokenVersions(
        "kilosort4",
        {"kilosort": "<4.1.1"},
        "error",
        "SpikeInterface runs Kilosort 4.1.1 and above",
        "Run: pip install --upgrade 'kilosort>=4.1.7'",
    ),
    BrokenVersions(
        "kilosort4",
        {"kilosort": ">=4.1.1,<=4.1.6", "numpy": ">=2.4"},
        "error",
        "Kilosort 4.1.1 to 4.1.6 does not work with numpy 2.4 and above",
        "Run: pip install --upgrade 'kilosort>=4.1.7'",
    ),
    # kilosort/parameters.py: the default was changed in 4.1.0 and put back in 4.1.3 (MouseLand/Kilosort#1027).
    BrokenVersions(
        "kilosort4",
        {"kilosort": ">=4.1.0,<4.1.3"},
        "warn",
        "Kilosort 4.1.0 to 4.1.2 clusters all spikes by default, which splits units too finely and takes much memory",
        "Run: pip install --upgrade 'kilosort>=4.1.7', or set sorter.params.cluster_downsampling to 20",
    ),
)


def inspect_versions(sorter: str | None = None) -> list[CheckResult]:
    """Look for versions of packages that are known to break a sorter.

    Parameters
    ----------
    sorter : str or None
        The sorter that is going to run; None looks for all.
    """
    concerned = [broken for broken in BROKEN if sorter in (None, broken.sorter)]
    results = [_result_of(broken) for broken in concerned if _installed_all(broken.versions)]
    return results or [ok("versions", "no combination of packages that is known to break")]


def inspect_maxwell_plugin() -> list[CheckResult]:
    """Look for the HDF5 plugin that decompresses Maxwell's files. Files that need none can be opened without it."""
    import h5py

    folders = [Path(h5py.h5pl.get(index).decode()) for index in range(h5py.h5pl.size())]
    found = next((folder for folder in folders if (folder / _MAXWELL_PLUGIN).is_file()), None)
    if found is not None:
        return [ok("maxwell plugin", f"{_MAXWELL_PLUGIN} in {found}")]
    return [
        ok(
            "maxwell plugin",
            f"no {_MAXWELL_PLUGIN} in {', '.join(map(str, folders))}: compressed Maxwell files can't be opened",
            "Needed for such files only: get it from MaxWell Biosystems and set HDF5_PLUGIN_PATH to its folder.",
        )
    ]


def _result_of(broken: BrokenVersions) -> CheckResult:
    found = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in broken.versions)
    detail = f"{broken.what}; installed: {found}"
    if broken.severity == "warn":
        return warning("versions", detail, broken.remedy)
    return failed("versions", IncompatibleVersionsError(f"{detail}.", remedy=broken.remedy))


def _installed_all(versions: dict[str, str]) -> bool:
    for package, bad in versions.items():
        try:
            installed = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not SpecifierSet(bad, prereleases=True).contains(installed):
            return False
    return True
