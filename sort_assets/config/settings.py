"""The folders and addresses that environment variables name."""

import os
from dataclasses import dataclass
from pathlib import Path

from sort_assets.errors import InstanceError

RECORDINGS_VARIABLE = "SORT_ASSETS_RECORDINGS"
STORE_VARIABLE = "SORT_ASSETS_STORE"
FIGURES_URL_VARIABLE = "SORT_ASSETS_FIGURES_URL"
DEFAULT_FIGURES_URL = "http://127.0.0.1:3838"


@dataclass(frozen=True)
class Roots:
    """Where recordings are read from, where results are kept, and where their figures are served.

    Attributes
    ----------
    recordings, store : Path
        Absolute.
    figures_url : str
        Without a slash at the end.
    """

    recordings: Path
    store: Path
    figures_url: str = DEFAULT_FIGURES_URL

    @classmethod
    def from_environment(cls) -> "Roots":
        """Read `SORT_ASSETS_RECORDINGS`, `SORT_ASSETS_STORE` and `SORT_ASSETS_FIGURES_URL`.

        Raises
        ------
        InstanceError
            When a folder's variable is not set, or is not an absolute path.
        """
        return cls(
            recordings=_absolute(RECORDINGS_VARIABLE),
            store=_absolute(STORE_VARIABLE),
            figures_url=os.environ.get(FIGURES_URL_VARIABLE, DEFAULT_FIGURES_URL).rstrip("/"),
        )


def _absolute(variable: str) -> Path:
    value = os.environ.get(variable, "")
    if not value or not Path(value).is_absolute():
        raise InstanceError(
            f"The environment variable {variable} is {f'{value!r}, which is not absolute' if value else 'not set'}.",
            remedy="Run in the checkout, whose .env file `make install` writes, or set it to an absolute path.",
        )
    return Path(value)
