"""What is decided of each unit, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sort_assets.config import CurationConfig
from sort_assets.curation.columns import decision_columns
from sort_assets.curation.criteria import Verdicts
from sort_assets.curation.history import UnitId
from sort_assets.curation.manual import ManualDecision

if TYPE_CHECKING:
    import pandas as pd

GOOD, REJECTED, DUPLICATE = "good", "rejected", "duplicate"

DecidedBy = Literal["thresholds", "bombcell", "duplicates", "merge", "person"]


@dataclass(frozen=True)
class Decision:
    """What is decided of one unit; the attributes are columns of the table (`columns.DECISIONS`)."""

    label: str
    kept: bool
    reason: str
    decided_by: DecidedBy

    def made(self, how: str, by: DecidedBy) -> Decision:
        """The same of a unit that a merge or split made; who made it decided when no criterion rejects it."""
        return replace(self, reason=f"{how}. {self.reason}", decided_by=by if self.kept else self.decided_by)

    def overruled(self, word: ManualDecision) -> Decision:
        """The same after what a person said of the unit."""
        if not word.label:
            return self
        said = f"{word.user} removed it" if word.removed else f'{word.user} says "{word.label}"'
        kept = self.kept if word.keeps is None else word.keeps
        return Decision(word.label, kept, f"{said}; automatically {self.label}: {self.reason}", "person")


def decide(unit_id: str, verdicts: Verdicts, bombcell_label: str, config: CurationConfig) -> Decision:
    """What criteria and Bombcell decide of a unit."""
    if verdicts.rejects(unit_id):
        return Decision(REJECTED, False, verdicts.reason(unit_id), "thresholds")
    if bombcell_label in config.reject_bombcell:
        return Decision(REJECTED, False, f"Bombcell labels it {bombcell_label}.", "bombcell")
    return Decision(GOOD, True, verdicts.reason(unit_id), "thresholds")


def decisions_table(
    unit_ids: Iterable[UnitId],
    decisions: Mapping[UnitId, Decision],
    verdicts: Verdicts,
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
    verdicts : Verdicts
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
    for each in verdicts.criteria:
        table[each.name] = verdicts.values[each.name].reindex(index)
        table[f"{each.name}_ok"] = verdicts.passed[each.name].reindex(index)
    return as_declared(table, decision_columns(config))
