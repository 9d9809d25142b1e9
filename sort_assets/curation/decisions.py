"""The decision on each unit, and the table of all decisions with its declared columns.

Imported where Dagster builds the schema of the asset, so that nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sort_assets.config import CurationConfig
from sort_assets.curation.criteria import CriteriaResults, criteria_of
from sort_assets.curation.history import UnitId
from sort_assets.curation.manual import ManualDecision
from sort_assets.metrics.columns import Column

if TYPE_CHECKING:
    import pandas as pd

GOOD, REJECTED, DUPLICATE = "good", "rejected", "duplicate"

DecidedBy = Literal["thresholds", "bombcell", "duplicates", "merge", "person"]

DECISIONS: tuple[Column, ...] = (
    Column("label", "text", "", "good, rejected or duplicate, or what a person said: good, mua, noise, removed, …"),
    Column("kept", "bool", "", "Whether the unit is delivered."),
    Column("reason", "text", "", "Why."),
    Column(
        "decided_by",
        "text",
        "",
        "Who or what decided: thresholds, bombcell, duplicates, merge (the unit was made by one), or person.",
    ),
    Column("bombcell_label", "text", "", "Bombcell's label: good, mua, noise or non_soma."),
)
"""The columns that every table of decisions has."""


@dataclass(frozen=True)
class UnitDecision:
    """What is decided of one unit; the attributes are columns of the table (`DECISIONS`)."""

    label: str
    kept: bool
    reason: str
    decided_by: DecidedBy

    def made(self, how: str, by: DecidedBy) -> UnitDecision:
        """The same of a unit that a merge or split made; who made it decided when no criterion rejects it."""
        return replace(self, reason=f"{how}. {self.reason}", decided_by=by if self.kept else self.decided_by)

    def overruled(self, manual: ManualDecision) -> UnitDecision:
        """The same after a person's decision on the unit."""
        if not manual.label:
            return self
        reason = f"{manual.user} removed it" if manual.removed else f'{manual.user} says "{manual.label}"'
        kept = self.kept if manual.keeps is None else manual.keeps
        return UnitDecision(manual.label, kept, f"{reason}; automatically {self.label}: {self.reason}", "person")


def decide(unit_id: str, results: CriteriaResults, bombcell_label: str, config: CurationConfig) -> UnitDecision:
    """What criteria and Bombcell decide of a unit."""
    if results.rejects(unit_id):
        return UnitDecision(REJECTED, False, results.reason(unit_id), "thresholds")
    if bombcell_label in config.reject_bombcell:
        return UnitDecision(REJECTED, False, f"Bombcell labels it {bombcell_label}.", "bombcell")
    return UnitDecision(GOOD, True, results.reason(unit_id), "thresholds")


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


def decisions_table(
    unit_ids: Iterable[UnitId],
    decisions: Mapping[UnitId, UnitDecision],
    results: CriteriaResults,
    bombcell: pd.Series,
    config: CurationConfig,
) -> pd.DataFrame:
    """The table of decisions, with the columns that `decision_columns` declares.

    Parameters
    ----------
    unit_ids : iterable
        Units in the order of the table.
    decisions : mapping
        By unit.
    results : CriteriaResults
        Of the same units; also of more.
    bombcell : pd.Series
        Bombcell's labels by unit id as text.
    config : CurationConfig
        Whose criteria are columns.
    """
    import pandas as pd

    from sort_assets.metrics.tables import as_declared

    units = list(unit_ids)
    index = pd.Index([str(unit_id) for unit_id in units], name="unit_id", dtype=str)
    table = pd.DataFrame(index=index)
    for name in ("label", "kept", "reason", "decided_by"):
        table[name] = [getattr(decisions[unit_id], name) for unit_id in units]
    table["bombcell_label"] = bombcell.reindex(index)
    for each in results.criteria:
        table[each.name] = results.values[each.name].reindex(index)
        table[f"{each.name}_ok"] = results.passed[each.name].reindex(index)
    return as_declared(table, decision_columns(config))
