"""Who wants to know how long work goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sort_assets.running.progress import Progress

if TYPE_CHECKING:
    from sort_assets.checks.result import CheckResult


class Observer:
    """Told what a backend is doing; this one keeps it to itself."""

    def writing(self, fraction: float) -> None:
        """The fraction of the `.dat` that is written, in [0, 1]."""

    def sorting(self, progress: Progress) -> None:
        """How far the sorter is, every few seconds; not of one that runs inside this process."""

    def checked(self, results: Sequence[CheckResult]) -> None:
        """What was looked at before the sorter starts."""
