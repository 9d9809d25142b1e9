"""Small tables of metrics and decisions, for the figures of units."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sort_assets.curation.criteria import Criterion
from sort_assets.figures.metric_criterion import meets_criterion

CRITERIA = (
    Criterion("firing_rate", greater=0.05),
    Criterion("isi_violations_percent", less=1.0),
    Criterion("snr", greater=5.0),
)


def decide(metrics: pd.DataFrame, criteria: Sequence[Criterion] = CRITERIA) -> pd.DataFrame:
    """Judge units by the criteria alone, in the form of the decisions table."""
    decisions = pd.DataFrame(index=metrics.index)
    allowed = {one.name: meets_criterion(metrics[one.name].to_numpy(float), one) for one in criteria}
    decisions["kept"] = np.logical_and.reduce(list(allowed.values()))
    decisions["label"] = np.where(decisions["kept"], "good", "rejected")
    decisions["reason"] = ""
    decisions["decided_by"] = "thresholds"
    decisions["bombcell_label"] = "good"
    for name, ok in allowed.items():
        decisions[name] = metrics[name]
        decisions[f"{name}_ok"] = pd.array(ok, dtype="boolean")
    return decisions


def metrics_of(unit_ids: Sequence[str], **columns: Sequence[float]) -> pd.DataFrame:
    """A metrics table in which every unit is good, but for the columns that are given."""
    good = {"firing_rate": 8.0, "isi_violations_percent": 0.1, "snr": 10.0}
    return pd.DataFrame({**good, **columns}, index=pd.Index(unit_ids, name="unit_id"))
