"""The file that makes a folder an artefact: written last, it says what the folder holds and how it came about."""

import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sort_assets.errors import DamagedArtefactError
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.layout import MANIFEST_NAME
from sort_assets.platform.store.step_cost import StepCost

DetailsT = TypeVar("DetailsT", bound=Details)

_PACKAGES = (
    "sort-assets",
    "dagster",
    "spikeinterface",
    "kilosort",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "hdbscan",
    "numba",
    "mountainsort5",
    "neo",
    "probeinterface",
)


class InputVersion(BaseModel):
    """Which version of an upstream asset was read.

    Attributes
    ----------
    version : str
        The store's version.
    data_version : str
        Its content hash, which is Dagster's data version.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    version: str
    data_version: str


MANUAL_CURATION = "manual_curation"
"""The asset that holds what people decided."""


class Manifest(BaseModel):
    """What an artefact is and how it was made.

    Attributes
    ----------
    asset, recording, version, run_id : str
        Which artefact, of which recording, made by which Dagster run.
    created : datetime
        When it was published, in UTC.
    host : str
        Where.
    data_version : str
        Hash of the content.
    config : dict
        The resolved configuration.
    config_sources : dict
        Which layer chose each field that is not a default.
    packages : dict
        Versions of the packages that matter to the result.
    inputs : dict
        The versions of the upstream assets that were read.
    files : dict
        Size in bytes of every file, by its path within the artefact.
    details : dict
        What the asset's handle needs to open it, and numbers worth keeping, as stored; `details_as` reads them.
    cost : StepCost or None
        What making it took; None where an older version of sort_assets made it, or no step did.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    asset: str
    recording: str
    version: str
    run_id: str
    created: datetime
    host: str
    data_version: str
    config: dict[str, Any]
    config_sources: dict[str, str]
    packages: dict[str, str]
    inputs: dict[str, InputVersion]
    files: dict[str, int]
    details: dict[str, Any]
    cost: StepCost | None = None

    def details_as(self, model: type[DetailsT]) -> DetailsT:
        """The details as the model of the asset.

        Raises
        ------
        DamagedArtefactError
            When they can't be understood.
        """
        try:
            return model.model_validate(self.details)
        except ValidationError as error:
            raise DamagedArtefactError(
                f"The manifest of {self.asset} of '{self.recording}', version {self.version}, has other details than "
                f"this version of sort_assets reads: {error}",
                remedy=f"Update sort_assets if it was written by a newer version. If not: {make_again(self.asset)}",
            ) from error


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a published artefact and check that every file has the size it states.

    Raises
    ------
    DamagedArtefactError
        When the manifest can't be read, or a file is missing or has another size.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedArtefactError(
            f"'{folder}' has no readable manifest: {error}", remedy=make_again(folder.parent.name)
        ) from error
    sizes = file_sizes(folder)
    for name, size in manifest.files.items():
        if sizes.get(name) != size:
            found = f"has {sizes[name]} bytes" if name in sizes else "is missing"
            raise DamagedArtefactError(
                f"'{folder / name}' {found}; its manifest says {size} bytes.", remedy=make_again(folder.parent.name)
            )
    return manifest


def make_again(asset: str) -> str:
    """The remedy for a damaged artefact: what is computed can be made again, and what a person decided can't."""
    if asset == MANUAL_CURATION:
        return (
            "Put its files back from a backup of the store, or import the curation again with `sort-assets "
            "import-curation`; with --automatic the recording goes back to the automatic one."
        )
    return f"Materialize {asset} again."


def file_sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of every file below `folder`, by relative path, the manifest left out."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST_NAME
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that matter to a result."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
