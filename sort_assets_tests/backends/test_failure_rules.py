"""What SpikeInterface leaves of a sorter that failed."""

from pathlib import Path
from unittest.mock import patch

import pytest
from spikeinterface.sorters import BaseSorter

from sort_assets.backends.failure_classification import cause
from sort_assets.backends.failure_rules import SPIKEINTERFACE_LOG, read_error_trace


def test_the_traceback_that_spikeinterface_left_is_read(tmp_path: Path) -> None:
    class Failing:
        sorter_name = "failing"
        get_sorter_version = staticmethod(lambda: "1")

        @staticmethod
        def _run_from_folder(*_: object) -> None:
            raise KeyError("unit")

    (tmp_path / "spikeinterface_params.json").write_text('{"sorter_name": "failing", "sorter_params": {}}')
    with patch.dict("spikeinterface.sorters.sorterlist.sorter_dict", {"failing": Failing}):
        BaseSorter.run_from_folder(tmp_path, raise_error=False, verbose=False)

    trace = read_error_trace(tmp_path)

    assert trace.startswith("Traceback (most recent call last):")
    assert cause(trace) == "KeyError: 'unit'"


@pytest.mark.parametrize("left", ['{"error": true, "error_trace": ["Trace', "", "[]", '{"error": false}', "\0\0"])
def test_a_log_of_spikeinterface_without_a_traceback_says_nothing(left: str, tmp_path: Path) -> None:
    (tmp_path / SPIKEINTERFACE_LOG).write_text(left)

    assert read_error_trace(tmp_path) == ""


def test_without_a_log_of_spikeinterface_there_is_no_traceback(tmp_path: Path) -> None:
    assert read_error_trace(tmp_path) == ""
