"""Memory profiles: with which lowered parameters sorts succeeded that had run out of memory, by the recording's shape.

Each is a readable file, ``<store>/@lessons/<sorter>-<channels>ch-<rate>Hz-<device>.json``; no recording's key begins
with ``@``. It expires, and anybody may delete it.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from sort_assets.errors import SortAssetsError
from sort_assets.platform.store.files import write_atomically
from sort_assets.platform.store.layout import LESSONS

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME_PART = 80
_log = logging.getLogger(__name__)


class Shape(BaseModel):
    """What sorts have in common that need about the same memory.

    Attributes
    ----------
    sorter : str
    device : str
        The device's name, as its lease gives it.
    channels : int
        Of the recording, or of the largest of its groups that are sorted on their own.
    sampling_hz : float
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    sorter: str
    device: str
    channels: int
    sampling_hz: float

    @property
    def name(self) -> str:
        """For people, and for the profile's file."""
        sorter, device = (_UNSAFE.sub("_", part)[:_LONGEST_NAME_PART] for part in (self.sorter, self.device))
        return f"{sorter}-{self.channels}ch-{self.sampling_hz:.10g}Hz-{device}"


class MemoryProfile(BaseModel):
    """Which failures a sort of a shape went through before it succeeded.

    Attributes
    ----------
    shape : Shape
    failures : list of dict
        The out-of-memory errors, in their order; a later sort scales its parameters as if it had met them.
    params : dict
        The parameters that then worked, for people.
    recording, version, run_id : str
        The sorting that succeeded.
    created, expires : datetime
        In UTC.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    shape: Shape
    failures: list[dict[str, Any]]
    params: dict[str, Any]
    recording: str
    version: str
    run_id: str
    created: AwareDatetime
    expires: AwareDatetime

    @property
    def errors(self) -> list[SortAssetsError]:
        """The failures, made again."""
        return [SortAssetsError.from_dict(failure) for failure in self.failures]

    @property
    def expired(self) -> bool:
        """Whether it should be forgotten."""
        return datetime.now(UTC) >= self.expires


class MemoryProfiles:
    """All memory profiles of a store.

    Parameters
    ----------
    store_root : Path
    """

    def __init__(self, store_root: Path) -> None:
        self.folder = store_root / LESSONS

    def path(self, shape: Shape) -> Path:
        """The file of the profile for a shape."""
        return self.folder / f"{shape.name}.json"

    def find(self, shape: Shape) -> MemoryProfile | None:
        """What is known for a shape. An expired profile is removed."""
        path = self.path(shape)
        profile = _read(path)
        if profile is None or profile.shape != shape:
            return None
        if profile.expired:
            path.unlink(missing_ok=True)
            return None
        return profile

    def save(
        self,
        shape: Shape,
        *,
        failures: Iterable[SortAssetsError],
        params: Mapping[str, Any],
        recording: str,
        version: str,
        run_id: str,
        days: float,
    ) -> MemoryProfile:
        """Save what worked, in place of what was known for the shape.

        Parameters
        ----------
        failures : Iterable[SortAssetsError]
            Those that led to the parameters, in their order.
        params : Mapping[str, Any]
            The parameters that worked; plain JSON.
        recording, version, run_id : str
            The sorting that succeeded with them.
        days : float
            After how many days to forget it.
        """
        now = datetime.now(UTC)
        profile = MemoryProfile(
            shape=shape,
            failures=[failure.to_dict() for failure in failures],
            params=dict(params),
            recording=recording,
            version=version,
            run_id=run_id,
            created=now,
            expires=now + timedelta(days=days),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(shape), profile.model_dump_json(indent=1))
        return profile

    def all(self) -> list[MemoryProfile]:
        """Every profile, also expired ones, in the order of their names."""
        profiles = (_read(path) for path in sorted(self.folder.glob("*.json")))
        return [profile for profile in profiles if profile is not None]

    def expired(self) -> list[Path]:
        """The files of the profiles that have expired."""
        return [self.path(profile.shape) for profile in self.all() if profile.expired]

    def forget(self) -> list[MemoryProfile]:
        """Remove every profile, also those that can't be read; returns those that could."""
        profiles = self.all()
        for path in self.folder.glob("*.json"):
            path.unlink(missing_ok=True)
        return profiles


def _read(path: Path) -> MemoryProfile | None:
    """The profile in a file; None, with a warning, when it can't be read."""
    try:
        return MemoryProfile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("The memory profile '%s' can't be read and is not used: %s", path, error)
        return None
