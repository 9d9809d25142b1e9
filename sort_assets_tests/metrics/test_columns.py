import subprocess
import sys

from sort_assets.metrics.columns import UNIT_METRICS
from sort_assets.metrics.metric_names import NEVER_COMPUTED, metric_families

KINDS = {int: "int", float: "float", bool: "bool", str: "text"}


def test_every_column_that_spikeinterface_computes_is_declared_with_its_kind() -> None:
    declared = {column.name: column.kind for column in UNIT_METRICS}

    computed = {
        column: KINDS[kind]
        for family in metric_families()
        for metric in family.metric_list
        if metric.metric_name != NEVER_COMPUTED
        for column, kind in metric.metric_columns.items()
    }

    assert {name: declared.get(name) for name in computed} == computed
    ours = {
        "repeatability",
        "isi_violations_percent",
        "waveform_deviation",
        "amplitude_uv",
        "primary_channel",
        "x_um",
        "y_um",
        "z_um",
    }
    assert set(declared) - set(computed) == ours


def test_every_column_is_named_once_and_described() -> None:
    assert len({column.name for column in UNIT_METRICS}) == len(UNIT_METRICS)
    assert all(column.description.endswith(".") for column in UNIT_METRICS)


def test_declaring_columns_imports_nothing_heavy() -> None:
    script = "import sys, sort_assets.metrics.columns; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not {"numpy", "pandas", "spikeinterface", "numba"}.intersection(loaded)
