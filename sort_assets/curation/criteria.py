"""The thresholds of a `CurationConfig` as criteria, and which units meet them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sort_assets.config import CurationConfig
from sort_assets.errors import ConfigError
from sort_assets.metrics.columns import UNIT_METRICS, Column
from sort_assets.metrics.metric_names import metric_families

if TYPE_CHECKING:
    import pandas as pd

BOUNDS = ("greater", "less", "abs")
"""Keys of a threshold in SpikeInterface: smallest and largest allowed value, and whether the sign is left out."""

_WORDS = {
    "num_spikes": "number of spikes",
    "isi_violations_percent": "ISI violations",
    "snr": "SNR",
    "waveform_deviation": "waveform deviation",
}
# Without spikes or a waveform there is nothing to trust; and this one is missing where no contamination can be ruled
# out with confidence, which SpikeInterface's Bombcell counts as failed too. Elsewhere a missing value says that the
# metric could not be computed of so few spikes: the other criteria decide.
_MISSING_FAILS = frozenset({"num_spikes", "firing_rate", "snr", "waveform_deviation", "sliding_rp_violation"})
# Columns that follow from another column, or go by another name when they fail.
_SOURCES = {
    "isi_violations_percent": "isi_violations_count",
    **dict.fromkeys(("x_um", "y_um", "z_um"), "unit_location"),
}
_COLUMNS: Mapping[str, Column] = {column.name: column for column in UNIT_METRICS}


@dataclass(frozen=True)
class Criterion:
    """What a metric must be for a unit to be kept.

    Parameters
    ----------
    name : str
        Column of the table of metrics.
    greater, less : float or None
        Smallest and largest value that is allowed, themselves included; None sets no bound.
    absolute : bool
        Whether the sign of the value is ignored.
    """

    name: str
    greater: float | None = None
    less: float | None = None
    absolute: bool = False

    @property
    def column(self) -> Column:
        """The declared column."""
        return _COLUMNS[self.name]

    @property
    def words(self) -> str:
        """The metric's name in prose: "firing rate"."""
        return _WORDS.get(self.name, self.name.replace("_", " "))

    @property
    def label(self) -> str:
        """The metric's name with its unit, for the axis of a figure: "Firing rate (Hz)"."""
        unit = self.column.unit
        return self.words[0].upper() + self.words[1:] + (f" ({unit})" if unit else "")

    @property
    def missing_fails(self) -> bool:
        """Whether a unit fails when it lacks this metric while other units have it."""
        return self.name in _MISSING_FAILS

    @property
    def threshold(self) -> dict[str, Any]:
        """The same as SpikeInterface's `threshold_metrics_label_units` takes it."""
        return {"greater": self.greater, "less": self.less, "abs": self.absolute}

    def asked(self) -> str:
        """What is allowed: "at least 5"."""
        bounds = [(self.greater, "at least"), (self.less, "at most")]
        return " and ".join(f"{word} {self._number(bound)}" for bound, word in bounds if bound is not None)

    def broken(self, value: float) -> str:
        """How a value violates it: "SNR 3.2 (at least 5)"."""
        return f"{self.words} {self._number(value)} ({self.asked()})"

    def _number(self, value: float) -> str:
        return f"{value:.3g} {self.column.unit}".strip() if abs(value) < 1000 else f"{value:,.0f} {self.column.unit}"


def criteria_of(config: CurationConfig) -> tuple[Criterion, ...]:
    """The criteria of a configuration.

    What `thresholds` says of a metric that has a field of its own replaces that field's bound.

    Raises
    ------
    ConfigError
        When `thresholds` names an unknown column or key, or a bound that is no number.
    """
    thresholds: dict[str, dict[str, Any]] = {
        "firing_rate": {"greater": config.min_firing_rate_hz},
        "isi_violations_percent": {"less": config.max_isi_violations_percent},
        "snr": {"greater": config.min_snr},
        "num_spikes": {"greater": config.min_spikes},
        "waveform_deviation": {"less": config.max_waveform_deviation},
    }
    for name, bounds in config.thresholds.items():
        check_threshold("curation.thresholds", name, bounds)
        thresholds[name] = {**thresholds.get(name, {}), **bounds}
    criteria = (
        Criterion(name, bounds.get("greater"), bounds.get("less"), bool(bounds.get("abs", False)))
        for name, bounds in thresholds.items()
    )
    return tuple(each for each in criteria if each.greater is not None or each.less is not None)


def check_threshold(where: str, name: str, bounds: Mapping[str, Any]) -> None:
    """Check a threshold that a configuration sets on a column of the metrics.

    Raises
    ------
    ConfigError
        With the nearest name, when the column or a key is unknown; when a bound is no number.
    """
    numbers = [column.name for column in UNIT_METRICS if column.kind in ("int", "float")]
    if name not in numbers:
        raise unknown_name(f"{where}.{name}", "unit_metrics has no such column of numbers", name, numbers)
    for key, bound in bounds.items():
        if key not in BOUNDS:
            raise unknown_name(f"{where}.{name}.{key}", "a threshold has no such key", key, BOUNDS)
        is_number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if not (isinstance(bound, bool) if key == "abs" else bound is None or is_number):
            raise ConfigError(
                f"{where}.{name}.{key}: {bound!r} is not {'true or false' if key == 'abs' else 'a number'}.",
                remedy=f"Write it as {{{name}: {{greater: 0.9}}}}, for example.",
            )


def unknown_name(where: str, what: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error of a name that is not among the known ones, with the nearest of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3)
    return ConfigError(
        f"{where}: {what}.",
        remedy=f"Did you mean {' or '.join(near)}?" if near else f"Use one of: {', '.join(known)}.",
    )


@dataclass(frozen=True)
class CriteriaResults:
    """Whether each unit meets each criterion.

    Attributes
    ----------
    passed : pd.DataFrame
        Index `unit_id`, one column per criterion, of the type "boolean"; missing where it could not be applied.
    values : pd.DataFrame
        The values of the metrics, as floats, of the same shape.
    notes : tuple of str
        Sentences on the criteria that could not be applied to any unit.
    """

    criteria: tuple[Criterion, ...]
    passed: pd.DataFrame
    values: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    def rejects(self, unit_id: str) -> bool:
        """Whether the unit fails a criterion."""
        return any(self._verdict(unit_id, each) is False for each in self.criteria)

    def reason(self, unit_id: str) -> str:
        """A sentence on why a unit passes or fails."""
        broken, unjudged = [], []
        for each in self.criteria:
            value, verdict = self._value(unit_id, each), self._verdict(unit_id, each)
            if verdict is None:
                unjudged.append(each.words)
            elif not verdict:
                broken.append(each.broken(value) if value == value else f"{each.words} can't be computed")
        if broken:
            reason = "; ".join(broken)
            return f"{reason[0].upper()}{reason[1:]}."
        passing = "Meets every criterion." if len(unjudged) < len(self.criteria) else "No criterion was asked."
        return f"{passing} Not judged: {', '.join(unjudged)}." if unjudged else passing

    def _value(self, unit_id: str, criterion: Criterion) -> float:
        return float(self.values[criterion.name].loc[unit_id])

    def _verdict(self, unit_id: str, criterion: Criterion) -> bool | None:
        import pandas as pd

        verdict = self.passed[criterion.name].loc[unit_id]
        return None if verdict is pd.NA else bool(verdict)


def apply_criteria(
    table: pd.DataFrame, criteria: tuple[Criterion, ...], failed: Mapping[str, str] | None = None
) -> CriteriaResults:
    """Apply every criterion to every unit.

    A metric that is missing in all rows was not computed, or failed: its criterion is not applied, rejects no unit, and
    is named in the notes. Where a metric is missing for some units, they fail if that means that there is nothing to
    trust (number of spikes, firing rate, SNR, waveform deviation, and `sliding_rp_violation`); otherwise the criterion
    is not applied to them.

    Parameters
    ----------
    table : pd.DataFrame
        Metrics by unit; columns may be missing.
    criteria : tuple of Criterion
        From `criteria_of`.
    failed : mapping
        Why metrics could not be computed, by metric.
    """
    import pandas as pd
    from spikeinterface.curation import threshold_metrics_label_units

    values = pd.DataFrame({each.name: numbers(table, each.name) for each in criteria}, index=table.index)
    passed = pd.DataFrame(index=table.index)
    notes = []
    for each in criteria:
        known = values[each.name].notna()
        verdict = pd.array([None] * len(table), dtype="boolean")
        if known.any():
            # One at a time: the verdict of each criterion is shown, not only what follows from all of them.
            labels = threshold_metrics_label_units(
                values, {each.name: each.threshold}, "passed", "failed", nan_policy="fail", column_name="verdict"
            )
            judged = known.to_numpy() | each.missing_fails
            verdict[judged] = (labels["verdict"] == "passed").to_numpy()[judged]
        elif len(table):
            why = _why_missing(each.name, failed or {})
            notes.append(f"The criterion on {each.words} was not judged: {why.rstrip('.')}.")
        passed[each.name] = verdict
    return CriteriaResults(criteria, passed, values, tuple(notes))


def numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats; NaN where a value, or the whole column, is missing."""
    import numpy as np
    import pandas as pd

    if column not in table:
        return pd.Series(np.nan, index=table.index, dtype=float)
    return pd.Series(table[column].astype("Float64").to_numpy(float, na_value=np.nan), index=table.index)


def _why_missing(column: str, failed: Mapping[str, str]) -> str:
    """Why no unit has a metric. Failures are listed by metric, and a metric may have several columns."""
    source = _SOURCES.get(column, column)
    if source in failed:
        return failed[source]
    for family in metric_families():
        for metric in family.metric_list:
            if source in metric.metric_columns and metric.metric_name in failed:
                return failed[metric.metric_name]
    return "it is missing of every unit"
