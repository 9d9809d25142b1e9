"""The columns of the table of a comparison.

Imported where Dagster builds the schema of the asset, so that nothing heavy is imported here.
"""

from sort_assets.metrics.columns import Column

_SIDES = {"old": "earlier", "new": "later"}


def _side(side: str) -> tuple[Column, ...]:
    which = _SIDES[side]
    return (
        Column(f"{side}_unit", "text", "", f"Unit of the {which} sorting."),
        Column(f"{side}_spikes", "int", "", "Its spikes in the time that both sortings have."),
        Column(f"{side}_rate_hz", "float", "Hz", "Its spikes per second."),
        Column(f"{side}_amplitude_uv", "float", "µV", "Amplitude of its average waveform."),
        Column(f"{side}_channel", "text", "", "Channel on which it is largest."),
        Column(f"{side}_x_um", "float", "µm", "Its estimated position across the probe."),
        Column(f"{side}_y_um", "float", "µm", "Its estimated position along the probe."),
    )


PAIRS: tuple[Column, ...] = (
    Column("fate", "text", "", "What became of the unit: kept, moved, split, merged, lost or new."),
    *_side("old"),
    *_side("new"),
    Column("agreement", "float", "", "Shared spikes over those that either unit has; of the best match, without one."),
    Column("shared_spikes", "int", "", "Spikes of both units that coincide."),
    Column("part_of_old", "float", "", "Shared spikes over those of the earlier unit."),
    Column("part_of_new", "float", "", "Shared spikes over those of the later unit."),
    Column("distance_um", "float", "µm", "Distance between their positions."),
    Column("template_similarity", "float", "", "Cosine similarity of their average waveforms, where they fit best."),
    Column("best_match", "text", "", "Of a lost or new unit, the one on the other side that shares most of it."),
)
"""One row for each pair of units that belong together, and for each unit that is lost or new."""
