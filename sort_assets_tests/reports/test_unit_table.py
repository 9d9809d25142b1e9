import pandas as pd

from sort_assets.reports import UnitValue, make_unit_table
from sort_assets_tests.reports.conftest import Curated


def test_every_unit_has_its_verdict_its_numbers_and_the_reason(curated: Curated) -> None:
    table = make_unit_table(curated.metrics, curated.decisions, curated.criteria)

    labels = [column.label for column in table.columns]
    row = table.rows[1]
    assert [one.unit_id for one in table.rows] == list(curated.decisions.index)
    assert (row.verdict, row.label, row.decided_by) == ("rejected", "rejected", "thresholds")
    assert row.reason == "SNR 3 (at least 5)."
    assert row.values[labels.index("SNR")] == UnitValue("3", failed=True)
    assert table.rows[0].values[labels.index("SNR")] == UnitValue("12", failed=False)
    assert table.columns[labels.index("SNR")].asked == "at least 5"
    assert table.rows[0].values[labels.index("Amplitude (µV)")].text == "150"


def test_units_are_listed_by_verdict(curated: Curated) -> None:
    table = make_unit_table(curated.metrics, curated.decisions, curated.criteria)

    by_verdict = table.unit_ids_by_verdict
    ids = list(curated.decisions.index)
    assert list(by_verdict) == ["kept", "rejected", "duplicate"]
    assert by_verdict["rejected"] == ids[1:2]
    assert by_verdict["duplicate"] == ids[-1:]


def test_values_that_are_missing_are_empty_and_do_not_fail(curated: Curated) -> None:
    decisions = curated.decisions.copy()
    decisions["snr"] = float("nan")
    decisions["snr_ok"] = pd.array([None] * len(decisions), dtype="boolean")

    table = make_unit_table(curated.metrics.iloc[:0], decisions, curated.criteria)

    place = [column.label for column in table.columns].index("SNR")
    assert {row.values[place] for row in table.rows} == {UnitValue("", failed=False)}


def test_without_units_there_are_columns_and_no_rows(curated: Curated) -> None:
    table = make_unit_table(curated.metrics.iloc[:0], curated.decisions.iloc[:0], curated.criteria)

    assert len(table.columns) >= len(curated.criteria)
    assert table.rows == ()
