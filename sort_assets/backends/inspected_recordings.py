"""Recordings are inspected once, although both a look ahead of the sort and the sort itself ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sort_assets.checks.result import CheckResult
from sort_assets.recordings.preflight import inspect_recording

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_Asked = tuple[int | None, int, bool]
_INSPECTED: WeakKeyDictionary[BaseRecording, tuple[_Asked, list[CheckResult]]] = WeakKeyDictionary()


def inspect_once(
    recording: BaseRecording, batch_samples: int | None, minimum_channels: int, needs_probe: bool
) -> list[CheckResult]:
    """As `inspect_recording`, whose result is remembered as long as this process holds the recording."""
    asked = (batch_samples, minimum_channels, needs_probe)
    known = _INSPECTED.get(recording)
    if known is None or known[0] != asked:
        known = (
            asked,
            inspect_recording(
                recording, batch_samples=batch_samples, minimum_channels=minimum_channels, needs_probe=needs_probe
            ),
        )
        _INSPECTED[recording] = known
    return known[1]
