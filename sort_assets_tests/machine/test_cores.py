"""How many cores a process uses, of those that it could."""

import os
from pathlib import Path

import pytest

from sort_assets.machine.cores import usable_cores


@pytest.mark.parametrize("variable", ["SORT_ASSETS_CORES", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"])
def test_no_more_than_an_engine_allotted(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr("sort_assets.machine.cores._CGROUP_CPU_MAX", Path("/nowhere"))
    monkeypatch.setenv(variable, "3")

    assert usable_cores() == 3


def test_no_more_than_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setenv("SORT_ASSETS_CORES", "8")

    assert usable_cores() == 1
