"""Lessons of out-of-memory, as a sort takes and gives them."""

from typing import TYPE_CHECKING

from sort_assets.errors import OutOfMemoryError
from sort_assets.platform.execution.leases import Lease
from sort_assets.platform.pipeline.failure_rendering import in_words
from sort_assets.platform.pipeline.materialization import StagedAsset
from sort_assets.platform.store.memory_profiles import MemoryProfile, MemoryProfiles, Shape

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


class SortMemoryProfiles:
    """What earlier sorts of the same shape taught this one, and this one may teach.

    Parameters
    ----------
    asset : StagedAsset
        The sorting in the making; its sorter's parameters are lowered as the lesson says.
    lease : Lease
        The device that it has.
    parts : list of BaseRecording
        What is sorted.
    """

    def __init__(self, asset: StagedAsset, lease: Lease, parts: "list[BaseRecording]") -> None:
        self._asset = asset
        self._lessons = MemoryProfiles(asset.roots.store)
        self._shape = Shape(
            sorter=asset.sorter.name,
            device=lease.name,
            channels=max(int(part.get_num_channels()) for part in parts),
            sampling_hz=float(parts[0].sampling_frequency),
        )
        self.device = lease.name
        self.lesson: MemoryProfile | None = None
        if asset.attempt.execution.oom_learn:
            self.lesson = self._lessons.find(self._shape)
        known = self.lesson.errors if self.lesson else []
        changed = [asset.attempt.scale_after(error) for error in known]
        if not any(changed):
            self.lesson = None  # it had nothing to say: the configured values are as low
        if self.lesson is not None:
            asset.attempt.log(
                f"Starting from what {self.lesson.recording} (version {self.lesson.version}) taught: "
                f"{in_words(asset.attempt.scaled)}."
            )

    @property
    def origin(self) -> str | None:
        """Who taught the parameters that ran, for people."""
        if self.lesson is None:
            return None
        return f"{self.lesson.recording}, sorting {self.lesson.version}, run {self.lesson.run_id}"

    def teach(self) -> None:
        """Write down what this sort learned from running out of memory."""
        attempt = self._asset.attempt
        failures = [one.error for one in attempt.earlier if isinstance(one.error, OutOfMemoryError)]
        if not attempt.execution.oom_learn or not failures:
            return
        staging = self._asset.staging
        known = self.lesson.errors if self.lesson else []
        try:
            self._lessons.teach(
                self._shape,
                failures=[*known, *failures],
                params={name: after for name, (_, after) in attempt.scaled.items()},
                recording=staging.recording,
                version=staging.version,
                run_id=staging.run_id,
                days=attempt.execution.oom_lesson_days,
            )
        except OSError as error:  # the sorting is published already
            attempt.log(f"What this sort learned could not be written down: {error}")
