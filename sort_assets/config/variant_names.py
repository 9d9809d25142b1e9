"""The names of variants' assets and files; light, since the code location imports it."""

from pathlib import Path
from typing import Final

from sort_assets.config.settings import variants_folder
from sort_assets.errors import InstanceError

VARIANT_TYPE: Final = "sort_assets.SortingVariant"
"""The component's type, as YAML names it."""
VARIANT_FILE: Final = "defs.yaml"
VARIANT_PREFIX: Final = "variant_"
"""What the names of the assets of variants begin with."""
UNITS_SUFFIX: Final = "_units"
"""What the names of the assets with the metrics of their units end with."""


def folder_with_variants() -> Path | None:
    """The folder that declares variants; None where nothing is declared, or nobody said where the home is.

    Whoever runs something without a home is told so elsewhere.
    """
    try:
        folder = variants_folder()
    except InstanceError:
        return None
    return folder if folder.is_dir() and next(folder.rglob(VARIANT_FILE), None) else None
