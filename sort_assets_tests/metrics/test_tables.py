from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sort_assets.errors import DamagedArtefactError
from sort_assets.metrics.columns import UNIT_METRICS, Column
from sort_assets.metrics.tables import as_declared, empty_table, read_table, write_table

COLUMNS = (
    Column("spikes", "int", "", "Count."),
    Column("rate", "float", "Hz", "Rate."),
    Column("good", "bool", "", "Verdict."),
    Column("channel", "text", "", "Name."),
)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_table_comes_back_with_its_types_and_its_missing_values(rows: int, tmp_path: Path) -> None:
    values = {
        "spikes": [5, None, 7],
        "rate": [0.5, float("nan"), 2.0],
        "good": [True, None, False],
        "channel": ["a", None, "c"],
    }
    untyped = pd.DataFrame(values, index=pd.Index(["10", "9", "11"], name="unit_id"), dtype=object).iloc[:rows]
    table = as_declared(untyped, COLUMNS)

    write_table(table, tmp_path / "table.parquet")

    pd.testing.assert_frame_equal(read_table(tmp_path / "table.parquet"), table)
    assert [str(dtype) for dtype in table.dtypes] == ["Int64", "float64", "boolean", "string"]
    assert table["spikes"].tolist() == [5, pd.NA, 7][:rows]
    assert pq.read_table(tmp_path / "table.parquet").num_rows == rows


def test_an_empty_table_has_all_columns_and_no_rows(tmp_path: Path) -> None:
    write_table(empty_table(UNIT_METRICS), tmp_path / "table.parquet")

    table = read_table(tmp_path / "table.parquet")
    assert table.shape == (0, len(UNIT_METRICS))
    pd.testing.assert_frame_equal(table, empty_table(UNIT_METRICS))


def test_unit_ids_become_text() -> None:
    assert empty_table(COLUMNS, [3, 1]).index.tolist() == ["3", "1"]


def test_a_value_that_does_not_fit_its_column_is_refused() -> None:
    with pytest.raises(ValueError, match="'spikes'"):
        as_declared(pd.DataFrame({"spikes": [0.5]}, index=["1"]), COLUMNS)


@pytest.mark.parametrize(
    "index", [pd.Index([1, 2], name="unit_id"), pd.Index(["1", "1"], name="unit_id"), pd.Index(["1", "2"])]
)
def test_a_table_that_is_not_of_units_is_not_written(index: pd.Index, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unit_id"):
        write_table(pd.DataFrame({"rate": [1.0, 2.0]}, index=index), tmp_path / "table.parquet")


def test_a_damaged_file_says_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(empty_table(COLUMNS, ["1"]), path)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DamagedArtefactError, match=r"table\.parquet"):
        read_table(path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "table.parquet")
