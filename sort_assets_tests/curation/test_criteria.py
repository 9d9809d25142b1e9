"""Thresholds as criteria, and what a missing value means."""

import numpy as np
import pandas as pd
import pytest

from sort_assets.config import CurationConfig
from sort_assets.curation.criteria import apply_criteria, criteria_of
from sort_assets.curation.decisions import DECISIONS, decision_columns
from sort_assets.errors import ConfigError

GOOD_UNIT = {
    "num_spikes": 900,
    "firing_rate": 1.5,
    "isi_violations_percent": 0.1,
    "snr": 8.0,
    "waveform_deviation": 0.2,
    "presence_ratio": 0.99,
}


def table(**changes: list[float | None]) -> pd.DataFrame:
    """Units that meet every criterion but for the changed values."""
    count = len(next(iter(changes.values())))
    rows = pd.DataFrame({name: [value] * count for name, value in GOOD_UNIT.items()})
    for name, values in changes.items():
        rows[name] = pd.array(values, dtype="Float64")
    rows.index = pd.Index([str(row) for row in range(count)], name="unit_id")
    return rows


def test_a_value_at_the_threshold_is_allowed() -> None:
    results = apply_criteria(table(snr=[5.0, 4.999]), criteria_of(CurationConfig()))

    assert [results.rejects(unit) for unit in ("0", "1")] == [False, True]
    assert results.reason("1") == "SNR 5 (at least 5)." or "SNR" in results.reason("1")


def test_every_broken_criterion_is_in_the_reason() -> None:
    results = apply_criteria(table(snr=[3.2], firing_rate=[0.012]), criteria_of(CurationConfig()))

    assert results.reason("0") == "Firing rate 0.012 Hz (at least 0.05 Hz); SNR 3.2 (at least 5)."


def test_a_metric_that_no_unit_has_rejects_nobody_and_is_named() -> None:
    metrics = table(snr=[None, None])

    results = apply_criteria(metrics, criteria_of(CurationConfig()), {"snr": "It needs templates, which are missing."})

    assert not any(results.rejects(unit) for unit in metrics.index)
    assert results.passed["snr"].isna().all()
    assert results.notes == ("The criterion on SNR was not judged: It needs templates, which are missing.",)
    assert results.reason("0") == "Meets every criterion. Not judged: SNR."


def test_the_reason_of_a_failed_metric_is_found_by_its_columns() -> None:
    metrics = table(isi_violations_percent=[None])

    results = apply_criteria(metrics, criteria_of(CurationConfig()), {"isi_violation": "ZeroDivisionError: no time."})

    assert results.notes == ("The criterion on ISI violations was not judged: ZeroDivisionError: no time.",)


def test_a_unit_without_a_waveform_fails_when_others_have_one() -> None:
    results = apply_criteria(table(snr=[8.0, None]), criteria_of(CurationConfig()))

    assert [results.rejects(unit) for unit in ("0", "1")] == [False, True]
    assert results.reason("1") == "SNR can't be computed."


def test_a_unit_with_too_few_spikes_for_a_metric_is_not_judged_by_it() -> None:
    metrics = table(isi_violations_percent=[0.1, None], presence_ratio=[0.99, None])
    config = CurationConfig(thresholds={"presence_ratio": {"greater": 0.9}})

    results = apply_criteria(metrics, criteria_of(config))

    assert not results.rejects("1")
    assert results.reason("1") == "Meets every criterion. Not judged: ISI violations, presence ratio."
    assert results.notes == ()


def test_a_threshold_in_the_configuration_replaces_the_bound_of_a_field() -> None:
    config = CurationConfig(thresholds={"snr": {"greater": 9.0}, "amplitude_median": {"greater": 50, "abs": True}})

    criteria = {each.name: each for each in criteria_of(config)}

    assert criteria["snr"].greater == 9.0
    assert criteria["amplitude_median"].absolute
    metrics = table(amplitude_median=[-80.0, -20.0], snr=[10.0, 10.0])
    results = apply_criteria(metrics, tuple(criteria.values()))
    assert [results.rejects(unit) for unit in metrics.index] == [False, True]


def test_fields_that_are_null_are_no_criteria() -> None:
    config = CurationConfig(
        min_firing_rate_hz=None,
        max_isi_violations_percent=None,
        min_snr=None,
        min_spikes=None,
        max_waveform_deviation=None,
    )

    assert criteria_of(config) == ()
    assert decision_columns(config) == DECISIONS
    assert apply_criteria(table(snr=[0.1]), ()).reason("0") == "No criterion was asked."


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"presense_ratio": {"greater": 0.9}}, "presence_ratio"),
        ({"snr": {"greter": 5}}, "greater"),
        ({"snr": {"greater": "5"}}, "not a number"),
        ({"snr": {"greater": True}}, "not a number"),
        ({"primary_channel": {"greater": 5}}, "no such column of numbers"),
    ],
)
def test_a_threshold_that_means_nothing_is_an_error_that_helps(
    thresholds: dict[str, dict[str, object]], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        criteria_of(CurationConfig(thresholds=thresholds))


def test_no_units_have_no_verdicts() -> None:
    metrics = table(snr=[np.nan]).iloc[:0]

    results = apply_criteria(metrics, criteria_of(CurationConfig()))

    assert len(results.passed) == 0
    assert set(results.passed) == {each.name for each in criteria_of(CurationConfig())}
    assert results.notes == ()
