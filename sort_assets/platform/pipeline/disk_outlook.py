"""When the disk of the store will be full, by what new recordings have added to it in the last weeks."""

import math
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from sort_assets.config.settings import Roots
from sort_assets.errors import RecordingKeyError
from sort_assets.forecasts.disk import DAYS, days_until_full
from sort_assets.forecasts.totals import Quantiles
from sort_assets.platform.pipeline.step_history import newest_recordings
from sort_assets.platform.pipeline.summary_cache import recording_summaries
from sort_assets.platform.store.files import num_bytes
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey

_DAY_S = 86400.0
_WARN_DAYS = 14.0


@dataclass(frozen=True)
class DiskOutlook:
    """How long the disk of the store lasts.

    Attributes
    ----------
    free_bytes : int
    daily_bytes : float
        What new recordings added on each of the last days, in the mean: their results, and the recordings themselves
        where they are on the same disk. What was sorted again does not count.
    days_until_full : Quantiles or None
        None where it is too early to tell.
    """

    free_bytes: int
    daily_bytes: float
    days_until_full: Quantiles | None

    @property
    def words(self) -> str:
        """Like "1.2 TB free; full in about 40 days (30 to 55) if recordings go on to arrive as they did"."""
        size, unit = (self.free_bytes / 1e12, "TB") if self.free_bytes >= 1e12 else (self.free_bytes / 1e9, "GB")
        free = f"{size:.3g} {unit} free"
        if self.days_until_full is None:
            return f"{free}; no history yet of how fast it fills"
        low, middle, high = (_words(days) for days in astuple(self.days_until_full))
        return f"{free}; full in about {middle} days ({low} to {high}) if recordings go on to arrive as they did"

    @property
    def is_soon(self) -> bool:
        """Whether it may be full within two weeks."""
        return self.days_until_full is not None and self.days_until_full.p10 < _WARN_DAYS

    def to_dict(self) -> dict[str, Any]:
        """For `--json`: null days where the disk may as well never be full."""
        days = None if self.days_until_full is None else asdict(self.days_until_full)
        finite = days and {name: value if math.isfinite(value) else None for name, value in days.items()}
        return {"free_bytes": self.free_bytes, "daily_bytes": self.daily_bytes, "days_until_full": finite}


def disk_outlook(roots: Roots) -> DiskOutlook:
    """How long the disk of the store lasts.

    Raises
    ------
    OSError
        When the disk can't be asked.
    """
    store = Store(roots.store)
    present = next(one for one in (roots.store, *roots.store.parents) if one.exists())
    free = shutil.disk_usage(present).free
    newest = recording_summaries(store, newest_recordings(store))
    made = {key: one.first_made_at.timestamp() for key, one in newest.items() if one.first_made_at is not None}
    now = time.time()
    days = min(DAYS, int((now - min(made.values(), default=now)) / _DAY_S))
    daily = [0.0] * days
    recent = {key: int((now - at) / _DAY_S) for key, at in made.items() if 0 <= now - at < days * _DAY_S}
    raw_bytes = _raw_bytes(roots, recent) if _on_one_disk(roots.recordings, present) else {}
    for key, days_ago in recent.items():
        daily[days_ago] += newest[key].disk_bytes + raw_bytes.get(key, 0)
    mean = sum(daily) / days if days else 0.0
    return DiskOutlook(free, mean, days_until_full(free, daily, len(recent)))


def _raw_bytes(roots: Roots, recordings: Iterable[str]) -> dict[str, int]:
    """Sizes of recordings on disk, each once, however many streams it has."""
    found: dict[str, int] = {}
    seen: set[Path] = set()
    for key in recordings:
        try:
            path = RecordingKey.parse(key).locate(roots.recordings)
            if path not in seen and path.exists():
                found[key] = num_bytes([path])
        except (RecordingKeyError, OSError):
            continue
        seen.add(path)
    return found


def _on_one_disk(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def _words(days: float) -> str:
    return f"{days:.2g}" if days < 10 else f"{days:.0f}" if days < 3650 else "more than 3650"
