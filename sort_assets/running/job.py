"""A job for another process and its outcome: two JSON files in one folder."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sort_assets.errors import ConfigError, SortAssetsError

JOB_FILE = "job.json"
OUTCOME_FILE = "outcome.json"
OUTPUT_FILE = "sorter.log"
"""Everything that the process writes to stdout and stderr."""


class Job(BaseModel):
    """A function and its arguments.

    Attributes
    ----------
    function : str
        "module:name"; it takes the arguments by name and returns what JSON can hold.
    arguments : dict
        What JSON can hold.
    import_path : list of str
        Where modules are looked for, in order; that of the process that gave the job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    function: str
    arguments: dict[str, Any]
    import_path: list[str] = []

    def write(self, folder: Path) -> None:
        """Write the job into its folder."""
        (folder / JOB_FILE).write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read the job of a folder."""
        return cls.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))

    def run(self) -> Any:
        """Import the function and call it."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function(**self.arguments)


class Outcome(BaseModel):
    """How the function ended; one of the three is set.

    Attributes
    ----------
    result : dict or None
        What it returned, as ``{"value": …}``.
    failure : dict or None
        A classified failure, as `SortAssetsError.to_dict` gives it.
    traceback : str or None
        Of any other exception.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    traceback: str | None = None

    def write(self, folder: Path) -> None:
        """Write the outcome into the job's folder: whole, or not at all."""
        part = folder / f".{OUTCOME_FILE}"
        with part.open("w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / OUTCOME_FILE)

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """Read the outcome of a job's folder; None when there is none."""
        path = folder / OUTCOME_FILE
        return cls.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def error(self) -> SortAssetsError | None:
        """The classified failure."""
        return None if self.failure is None else SortAssetsError.from_dict(self.failure)


def importable_name(thing: type | Callable[..., Any]) -> str:
    """The "module:name" under which another process finds a class or function.

    Raises
    ------
    ConfigError
        When another process can't find it there.
    """
    module, name = thing.__module__, thing.__qualname__
    if module == "__main__" or "<locals>" in name or "." in name:
        raise ConfigError(
            f"'{name}' is defined where another process can't import it ({module}).",
            remedy="Put it into a module of its own, or set execution.isolation to in_process.",
        )
    return f"{module}:{name}"
