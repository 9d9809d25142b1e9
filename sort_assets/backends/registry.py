"""The table of sorters. A backend's module is imported only when the backend is used."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from sort_assets.errors import SorterNotInstalledError, UnknownSorterError

if TYPE_CHECKING:
    from sort_assets.backends.base import SorterBackend
    from sort_assets.config import SortingPipelineConfig

ENTRY_POINT_GROUP = "sort_assets.backends"


@dataclass(frozen=True)
class BackendEntry:
    """Where a backend's class is, and which packages it needs.

    Attributes
    ----------
    name : str
        The name that `config.sorter.name` refers to.
    target : str
        "module:Class".
    requires : tuple of str
        Import names of the packages that the sorter needs beyond sort_assets' own.
    install_hint : str
        What to type to install them.
    """

    name: str
    target: str
    requires: tuple[str, ...] = ()
    install_hint: str = ""

    def missing_packages(self) -> list[str]:
        """The required packages that are not installed; nothing is imported to find out."""
        return [package for package in self.requires if importlib.util.find_spec(package) is None]

    def require_packages(self) -> None:
        """Check that the required packages are installed; nothing is imported to find out.

        Raises
        ------
        SorterNotInstalledError
            When one is missing.
        """
        missing = self.missing_packages()
        if missing:
            raise SorterNotInstalledError(
                f"The sorter '{self.name}' is not installed: {', '.join(missing)} can't be found.",
                remedy=f"Run: {self.install_hint}",
            )

    def load(self) -> "type[SorterBackend]":
        """Import and return the class.

        Raises
        ------
        SorterNotInstalledError
            When its module, or one that this imports, can't be imported, or has no such class.
        """
        module, _, attribute = self.target.partition(":")
        try:
            loaded: type[SorterBackend] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise SorterNotInstalledError(
                f"The backend '{self.name}' can't be loaded from '{self.target}': {error}.",
                remedy=f"Run: {self.install_hint}" if self.install_hint else "Reinstall the package that declares it.",
            ) from error
        return loaded


_OWN = (
    BackendEntry(
        "kilosort4",
        "sort_assets.backends.kilosort4:Kilosort4Backend",
        requires=("kilosort", "torch"),
        install_hint="pip install kilosort torch",
    ),
    BackendEntry(
        "spykingcircus2",
        "sort_assets.backends.spikeinterface_sorters:SpykingCircus2Backend",
        requires=("numba", "hdbscan"),
        install_hint="pip install 'sort-assets[cpu-sorters]'",
    ),
    BackendEntry(
        "tridesclous2",
        "sort_assets.backends.spikeinterface_sorters:Tridesclous2Backend",
        requires=("numba", "hdbscan"),
        install_hint="pip install 'sort-assets[cpu-sorters]'",
    ),
    BackendEntry(
        "lupin",
        "sort_assets.backends.spikeinterface_sorters:LupinBackend",
        requires=("numba", "sklearn", "torch"),
        install_hint="pip install 'sort-assets[cpu-sorters]'",
    ),
    BackendEntry(
        "mountainsort5",
        "sort_assets.backends.spikeinterface_sorters:MountainSort5Backend",
        requires=("mountainsort5",),
        install_hint="pip install 'sort-assets[mountainsort5]'",
    ),
)


@cache
def registered_backends() -> Mapping[str, BackendEntry]:
    """All backends by name: our own, then those that other packages declare as entry points.

    A package declares one in the group ``sort_assets.backends``: ``my_sorter = "my_package.backend:MySorterBackend"``.
    """
    theirs = (BackendEntry(point.name, point.value) for point in entry_points(group=ENTRY_POINT_GROUP))
    return {entry.name: entry for entry in (*theirs, *_OWN)}


def backend_class(name: str) -> "type[SorterBackend]":
    """The class registered under a name.

    Raises
    ------
    UnknownSorterError
        When there is none.
    SorterNotInstalledError
        When it can't be imported.
    """
    entry = registered_backends().get(name)
    if entry is None:
        raise UnknownSorterError(
            f"No sorter named '{name}' is registered.",
            remedy=f"Use one of: {', '.join(sorted(registered_backends()))}; a misspelt name is the usual cause.",
        )
    return entry.load()


def create_backend(config: "SortingPipelineConfig") -> "SorterBackend":
    """The backend that a configuration names, built with it."""
    return backend_class(config.sorter.name)(config)
