"""The memory profile of a sort: found before it begins, and saved when it had to take less memory and succeeded."""

from typing import TYPE_CHECKING

from sort_assets.errors import MEMORY_LIMIT_GB, GpuMemoryTakenError, GpuShareTooSmallError, OutOfMemoryError
from sort_assets.platform.pipeline.attempts import Attempt
from sort_assets.platform.store.memory_profiles import MemoryProfile, MemoryProfiles, Shape

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


def sort_shape(sorter: str, device: str, parts: "list[BaseRecording]") -> Shape:
    """What a sort has in common with others that need about the same memory.

    Parameters
    ----------
    sorter : str
    device : str
        The device's name, as its lease gives it.
    parts : list of BaseRecording
        What is sorted: the recording, or its groups of channels.
    """
    return Shape(
        sorter=sorter,
        device=device,
        channels=max(int(part.get_num_channels()) for part in parts),
        sampling_hz=float(parts[0].sampling_frequency),
    )


def find_profile(attempt: Attempt, shape: Shape) -> MemoryProfile | None:
    """What earlier sorts of the same shape left; None where nothing, or the configuration asks for no profiles."""
    return MemoryProfiles(attempt.store.root).find(shape) if attempt.execution.oom_learn else None


def describe_origin(profile: MemoryProfile | None) -> str | None:
    """The sorting that a profile is of, for people."""
    return None if profile is None else f"{profile.recording}, sorting {profile.version}, run {profile.run_id}"


def save_profile(attempt: Attempt, shape: Shape) -> None:
    """Save with which parameters a sort succeeded after it had run out of memory; nothing where it had not."""
    # After what an engine ended at the memory that it had asked for, more was asked for, and nothing lowered; nor after
    # what a part of a GPU was too small for.
    failures = [
        one.error
        for one in attempt.earlier
        if isinstance(one.error, OutOfMemoryError)
        and not isinstance(one.error, GpuShareTooSmallError)
        and MEMORY_LIMIT_GB not in one.error.diagnostics
    ]
    # What another program took says nothing about the shape.
    if not attempt.execution.oom_learn or not failures or any(isinstance(one, GpuMemoryTakenError) for one in failures):
        return
    staging, settings = attempt.staging, attempt.settings
    known = settings.profile.errors if settings.profile is not None else []
    try:
        MemoryProfiles(attempt.store.root).save(
            shape,
            failures=[*known, *failures],
            params={name: after for name, (_, after) in settings.scaled.items()},
            recording=staging.recording,
            version=staging.version,
            run_id=staging.run_id,
            days=attempt.execution.oom_lesson_days,
        )
    except OSError as error:  # the sorting is published already
        attempt.log(f"The memory profile of this sort could not be saved: {error}")
