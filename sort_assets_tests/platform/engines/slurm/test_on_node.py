"""What a job finds out on its node before it does anything."""

import sys

import pytest

from sort_assets.platform.engines.slurm import on_node
from sort_assets.platform.engines.slurm.job_script import NodeLack


def test_a_node_whose_dagster_cannot_be_imported_has_no_environment_for_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dagster", None)

    with pytest.raises(SystemExit) as end:
        on_node.main(["--", "--version"])

    assert end.value.code == NodeLack.ENVIRONMENT
    assert "ModuleNotFoundError" in capsys.readouterr().err


def test_a_node_with_another_version_says_both(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        on_node.main(["--version=dagster=0.1", "--", "--version"])

    assert end.value.code == NodeLack.VERSION
    assert "the control host has dagster 0.1." in capsys.readouterr().out
