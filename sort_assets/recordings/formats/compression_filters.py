"""Filters of HDF5 and codecs of zarr that decompress samples: those of hdf5plugin are registered, and what a file lacks
is named.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.errors import MissingPluginError

if TYPE_CHECKING:
    import h5py

_LACKING = re.compile(r"required filter|can't open directory|can't dlopen|plugin", re.IGNORECASE)
"""What HDF5 says where it finds no plugin for a filter (1.8 to 1.14)."""
_LACKING_CODEC = re.compile(r"codec not available: '+(?P<codec>[^']+)'")
_PACKAGES = {"wavpack": "wavpack-numcodecs", "flac": "flac-numcodecs"}
"""Where codecs of zarr are that numcodecs does not have."""


@cache
def register_filters() -> bool:
    """Make HDF5 know the filters of the package hdf5plugin (Blosc, zstd, bitshuffle, LZ4, …).

    Returns
    -------
    bool
        Whether the package is there.
    """
    if find_spec("hdf5plugin") is None:
        return False
    import_module("hdf5plugin")
    return True


def missing_filters(dataset: h5py.Dataset) -> list[str]:
    """Names and numbers of the filters that a data set needs and HDF5 does not find."""
    import h5py

    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(index) for index in range(plist.get_nfilters())]
    return [
        f"{name.decode(errors='replace') or 'a filter without a name'} ({number})"
        for number, _, _, name in filters
        if not h5py.h5z.filter_avail(number)
    ]


def check_filters(dataset: h5py.Dataset, path: Path) -> None:
    """Tell values whose compression is not installed from damaged ones.

    Raises
    ------
    MissingPluginError
        When HDF5 lacks a filter.
    """
    lacking = missing_filters(dataset)
    if lacking:
        raise MissingPluginError(
            f"'{dataset.name.strip('/')}' in '{path}' is compressed with a filter of HDF5 that is not installed: "
            f"{', '.join(lacking)}.",
            remedy=_remedy(),
        )


def missing_filter_error(path: Path, error: Exception) -> MissingPluginError | None:
    """The error for a file that could not be read for want of a filter or codec; None of any other error."""
    codec = _LACKING_CODEC.search(str(error))
    if codec is not None:
        package = _PACKAGES.get(codec["codec"], "")
        return MissingPluginError(
            f"Something in '{path}' is compressed with the codec '{codec['codec']}' of zarr, which is not installed.",
            remedy=f"Install {package or 'the Python package that has this codec'} "
            f"(pip install {package or 'NAME'}) where sort_assets runs, and restart it.",
        )
    if not isinstance(error, OSError | RuntimeError) or not _LACKING.search(str(error)):
        return None
    return MissingPluginError(
        f"Something in '{path}' is compressed with a filter of HDF5 that is not installed: {error}.", remedy=_remedy()
    )


def _remedy() -> str:
    if not register_filters():
        return "Install the package hdf5plugin (pip install hdf5plugin) where sort_assets runs, and restart it."
    return (
        "The package hdf5plugin, which is installed, has no such filter, or only in a newer version: update it (pip "
        "install --upgrade hdf5plugin), or get the plugin from the maker of the device, set HDF5_PLUGIN_PATH to its "
        "folder, and restart sort_assets. Or save the file again with gzip compression where the plugin is (h5repack "
        "-f GZIP=4 OLD NEW)."
    )
