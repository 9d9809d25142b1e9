"""The configuration of what happens to units after the sort: metrics, curation, delivery."""

from typing import Literal

from pydantic import Field

from sort_assets.config.section import NonNegativeFloat, Parameters, Section


class MetricsConfig(Section):
    """Which quality metrics are computed of the units."""

    pca: bool = Field(
        False, description="Also the metrics on principal components (isolation distance, L-ratio, d'); slow."
    )
    repeatability: bool = Field(
        False,
        description=(
            "Also how much of each unit is found again by another sort of the recording, or of a part of it, with the "
            "same settings (column repeatability); missing while the store has none."
        ),
    )
    skip: tuple[str, ...] = Field(
        (), description="Names of SpikeInterface metrics that are not computed, such as synchrony."
    )
    params: dict[str, Parameters] = Field(
        default_factory=dict,
        description="Parameters of SpikeInterface's metrics that differ from its defaults, by name of the metric.",
    )


class CurationConfig(Section):
    """Which units are kept."""

    min_firing_rate_hz: NonNegativeFloat | None = Field(
        0.05, description="Units that fire less, in spikes per second, are rejected; null does not ask."
    )
    max_isi_violations_percent: NonNegativeFloat | None = Field(
        1.0,
        description="Units with more intervals between spikes below 1.5 ms, in percent, are rejected; null: not asked.",
    )
    min_snr: NonNegativeFloat | None = Field(
        5.0, description="Units with a lower ratio of amplitude to noise are rejected; null does not ask."
    )
    min_spikes: int | None = Field(50, ge=0, description="Units with fewer spikes are rejected; null does not ask.")
    max_waveform_deviation: NonNegativeFloat | None = Field(
        1.0,
        description=(
            "Units whose waveforms deviate more at the peak (standard deviation over amplitude) are rejected; null: "
            "not asked."
        ),
    )
    thresholds: dict[str, Parameters] = Field(
        default_factory=dict,
        description=(
            "Further criteria by column of unit_metrics, each with greater, less or both, such as "
            "{presence_ratio: {greater: 0.9}}; the value itself is still allowed."
        ),
    )
    bombcell: dict[str, Parameters] = Field(
        default_factory=dict,
        description="Bombcell's thresholds that differ from its defaults, by section (noise, mua, non-somatic).",
    )
    reject_bombcell: tuple[Literal["noise", "mua", "non_soma"], ...] = Field(
        (), description="Units that Bombcell labels so are rejected; its labels are stored in any case."
    )
    remove_duplicates: bool = Field(
        True, description="Of units that have most of their spikes in common only one is kept."
    )
    duplicate_overlap: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Part of its spikes that a unit has in common (within 0.4 ms) with another to be its duplicate.",
    )
    merge_preset: Literal["similarity_correlograms", "x_contaminations", "temporal_splits", "slay"] | None = Field(
        "similarity_correlograms",
        description="SpikeInterface's way to find units that may be one; null makes no suggestions.",
    )
    apply_merges: bool = Field(False, description="Merge the suggested units, instead of only naming them.")
    epoch: str | None = Field(
        None,
        min_length=1,
        description=(
            "Decide on one file of a concatenated recording, by its name or its number from 1, and apply it to all; "
            "null decides on the whole recording."
        ),
    )


class DeliveryConfig(Section):
    """In which forms the curated units are delivered."""

    formats: tuple[Literal["nwb", "npz", "mat", "phy", "pynapple"], ...] = Field(
        ("nwb", "npz"), description="Formats that are written."
    )
    include_failed_units: bool = Field(
        False, description="Deliver also the units that curation rejected; their label says so."
    )
    split_files: bool = Field(
        True, description="Deliver each file of a concatenated recording on its own, with the times of its own clock."
    )
    waveforms: bool = Field(True, description="Deliver the average waveform of each unit and its standard deviation.")
