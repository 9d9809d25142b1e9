"""The columns of the table of decisions.

Imported where Dagster builds the schema of the asset, so that nothing heavy is imported here.
"""

from sort_assets.config import CurationConfig
from sort_assets.curation.criteria import criteria_of
from sort_assets.metrics.columns import Column

DECISIONS: tuple[Column, ...] = (
    Column("label", "text", "", "good, rejected or duplicate, or what a person said: good, mua, noise, removed, …"),
    Column("kept", "bool", "", "Whether the unit is delivered."),
    Column("reason", "text", "", "Why, in words."),
    Column(
        "decided_by",
        "text",
        "",
        "Who or what decided: thresholds, bombcell, duplicates, merge (the unit was made by one), or person.",
    ),
    Column("bombcell_label", "text", "", "Bombcell's label: good, mua, noise or non_soma."),
)
"""The columns that every table of decisions has."""


def decision_columns(config: CurationConfig) -> tuple[Column, ...]:
    """The columns of the decisions by a configuration: the fixed ones, then value and verdict of each criterion.

    Raises
    ------
    ConfigError
        When the configuration names unknown metrics.
    """
    columns = list(DECISIONS)
    for each in criteria_of(config):
        columns.append(each.column)
        columns.append(Column(f"{each.name}_ok", "bool", "", f"Whether {each.words} is {each.asked()}."))
    return tuple(columns)
