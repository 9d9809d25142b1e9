"""The benchmark of the demo, at its smallest size."""

import pytest

from benchmarks.demo import rows, seconds_said
from benchmarks.process_tree import BenchmarkError
from sort_assets.platform.cli.printing import print_table
from sort_assets.platform.pipeline.catalog import PIPELINE


def test_the_seconds_are_those_of_the_table_that_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    table = [("mean accuracy", "0.963"), *((asset, "12.5 s") for asset in PIPELINE), ("total time", "99.0 s")]
    print_table(("result", "value"), table, wrapped=())

    assert seconds_said(capsys.readouterr().out) == dict.fromkeys(PIPELINE, 12.5)


def test_a_demo_that_does_not_name_an_asset_is_no_measurement() -> None:
    with pytest.raises(BenchmarkError, match=r"said nothing of .*waveforms"):
        seconds_said("")


@pytest.mark.release
def test_the_demo_is_measured() -> None:
    demo, beside_the_sort, cpu = rows("small")

    assert 0 < beside_the_sort.figure < demo.figure  # type: ignore[operator]
    assert cpu.figure
    assert "s of the steps: preprocessed_recording" in beside_the_sort.note
