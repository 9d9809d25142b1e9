"""Recordings with injected units, by which the accuracy of the sorts of a rig is measured."""

from pydantic import Field

from sort_assets.config.section import PositiveFloat, Section


class HybridConfig(Section):
    """Units of known spike times that are injected into a recording, to see how well they are found."""

    every_days: PositiveFloat | None = Field(
        None,
        description=(
            "Days after which the newest recording of a rig (of the same folder below the recordings root) is taken to "
            "measure the accuracy of its sorts again; null never does so by itself."
        ),
    )
    minutes: PositiveFloat = Field(
        5.0,
        description="Minutes of the recording, from its middle, into which units are injected and which are sorted.",
    )
    units: int = Field(10, gt=0, description="Number of units that are injected.")
