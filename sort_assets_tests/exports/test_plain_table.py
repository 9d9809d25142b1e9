"""Tables as plain arrays."""

import numpy as np
import pandas as pd

from sort_assets.exports.plain_table import plain_columns


def test_every_kind_of_column_becomes_a_plain_array_also_where_values_are_missing() -> None:
    table = pd.DataFrame(
        {
            "count": pd.array([1, 2], "Int64"),
            "some counts": pd.array([1, None], "Int64"),
            "truth": pd.array([True, False], "boolean"),
            "some truth": pd.array([True, None], "boolean"),
            "number": [0.5, np.nan],
            "text": pd.array(["a", None], "string"),
        }
    )

    columns = plain_columns(table)

    kinds = {name: values.dtype.str for name, values in columns.items()}
    assert kinds == {
        "count": "<i8",
        "some counts": "<f8",
        "truth": "|b1",
        "some truth": "|i1",
        "number": "<f8",
        "text": "<U1",
    }
    assert columns["some truth"].tolist() == [1, -1]
    assert columns["text"].tolist() == ["a", ""]
    np.testing.assert_array_equal(columns["some counts"], [1, np.nan])
