"""What the sorters have in common that are put together from `spikeinterface.sortingcomponents`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

COMMON_REFERENCE_CHANNELS = 32
"""From this many channels on, these sorters take the median of all channels as reference."""
_CACHE_LIMIT_BYTES = 4 * 2**30
_SHARED_MEMORY = Path("/dev/shm")


class SortingComponentsBackend(SpikeInterfaceBackend):
    """A sorter that whitens the recording as it reads it, in several passes, and makes no copy of it on disk."""

    @property
    def library_threads(self) -> int:
        # The workers are threads that share torch: with several threads each, they would stand in each other's way.
        return 1

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return {"job_kwargs": self.job_kwargs}

    def sorter_input(self, recording: BaseRecording) -> BaseRecording:
        """The recording with the common reference that the sorter would take after its own filter.

        These sorters can skip their filter only together with the reference.
        """
        from spikeinterface.preprocessing import common_reference

        referenced = "common_reference" in self.config.recording.preprocessing
        few = recording.get_num_channels() < COMMON_REFERENCE_CHANNELS
        if few or referenced or not self.recording_is_filtered:
            return recording
        return common_reference(recording, dtype="float32")


def cache_mode(recording: BaseRecording) -> str:
    """Whether to hold the whitened recording in memory between the passes, or to compute it again each time.

    Memory is bounded, whatever the length of the recording. The sorters' own rule asks the host for its memory, which
    gets a process in a container killed; and they hold it in shared memory, of which a container may have 64 MB.
    """
    needed = 4 * recording.get_num_samples() * recording.get_num_channels()
    limit = _CACHE_LIMIT_BYTES
    if _SHARED_MEMORY.is_dir():
        limit = min(limit, shutil.disk_usage(_SHARED_MEMORY).free // 2)
    return "memory" if needed <= limit else "no-cache"
