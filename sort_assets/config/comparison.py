"""With which sorting another one is compared, and how much is to stay."""

from typing import Final

from pydantic import Field

from sort_assets.config.section import Section

BEFORE: Final = "before"
"""The baseline that is the sorting before the one that is compared."""
GROUND_TRUTH: Final = "ground_truth"
"""The baseline that is the recording's known units."""


class ComparisonConfig(Section):
    """How a recording's sorting is compared with another one of the same recording."""

    baseline: str = Field(
        BEFORE,
        min_length=1,
        description=(
            "What the sorting is compared with: before (the sorting before it), a version of sorting as its folder in "
            "the store is called, another asset with a sorting such as curated_units (with @VERSION for an older one), "
            "ground_truth (units in the file itself), or the path of a sorting that SpikeInterface saved."
        ),
    )
    version: str | None = Field(
        None, description="The version of sorting that is compared; null takes the current one."
    )
    least_persisting: float | None = Field(
        None,
        ge=0,
        le=1,
        description=(
            "Share of the units that curation had kept below which the check as_before warns; null takes what is usual "
            "on the rig."
        ),
    )
    consensus_of: int | None = Field(
        None,
        ge=1,
        description="How many sortings must have a unit of the consensus of a recording's variants; null takes more "
        "than half of them, and two of two.",
    )
