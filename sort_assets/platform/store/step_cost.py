"""What it cost to make a result, as its manifest keeps it: the history that forecasts are made from."""

from dataclasses import asdict
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sort_assets.machine.resource_use import ResourceUse


class StepCost(BaseModel):
    """What one successful attempt of a step took, until its result was written; failed attempts before it do not count.

    Attributes
    ----------
    wall_s, waited_s, cpu_s, gpu_s, device, peak_memory_bytes, read_bytes, written_bytes
        As in `ResourceUse`.
    channels, samples : int or None
        The shape of the recording after preprocessing; None where the asset does not know it.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    wall_s: float
    waited_s: float = 0.0
    cpu_s: float
    gpu_s: float = 0.0
    device: str
    peak_memory_bytes: int
    read_bytes: int | None = None
    written_bytes: int | None = None
    channels: int | None = None
    samples: int | None = None

    @classmethod
    def of(cls, use: ResourceUse, shape: tuple[int, int] | None) -> Self:
        """What was measured, and the recording's channels and samples where they are known."""
        channels, samples = shape or (None, None)
        return cls(**asdict(use), channels=channels, samples=samples)

    @classmethod
    def parse(cls, stored: object) -> Self | None:
        """The cost in a manifest that was read unchecked; None where there is none, or it can't be understood."""
        try:
            return cls.model_validate(stored)
        except ValidationError:
            return None
