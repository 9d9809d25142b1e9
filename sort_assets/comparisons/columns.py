"""The columns of the table of a comparison.

Imported where Dagster builds the schema of the asset, so that nothing heavy is imported here.
"""

from collections.abc import Iterable

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

UNIT_OF = "unit in "
"""What the columns of a consensus begin with that name each sorting's unit."""

CONSENSUS: tuple[Column, ...] = (
    Column("sortings", "int", "", "How many sortings have the unit."),
    Column("agreement", "float", "", "Mean agreement of its matched pairs of units; none of a unit of one sorting."),
    Column("least_agreement", "float", "", "Smallest agreement of these pairs."),
    Column("spikes", "int", "", "Spikes that enough of its sortings have."),
    Column("rate_hz", "float", "Hz", "These spikes per second."),
    Column("amplitude_uv", "float", "µV", "Amplitude of its average waveform, median over sortings."),
    Column("channel", "text", "", "Channel on which it is largest in most sortings; of equals, the earlier sorting's."),
    Column("x_um", "float", "µm", "Its estimated position across the probe, median over sortings."),
    Column("y_um", "float", "µm", "Its estimated position along the probe, median over sortings."),
)
"""One row for each unit on which enough sortings agree; a column for each sorting follows (`consensus_columns`)."""


def consensus_columns(names: Iterable[str]) -> tuple[Column, ...]:
    """The columns of a consensus of sortings with these names."""
    return (*CONSENSUS, *(Column(f"{UNIT_OF}{name}", "text", "", f"Its unit in the sorting {name}.") for name in names))
