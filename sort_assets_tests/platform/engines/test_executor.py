"""The executor that the environment chooses."""

import pytest

from sort_assets.errors import InstanceError
from sort_assets.platform.engines.executor import chosen_executor
from sort_assets.platform.execution.executor import local_executor


@pytest.mark.parametrize("engine", ["", "local"])
def test_steps_are_processes_of_their_run_s_host(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORT_ASSETS_ENGINE", engine)

    assert chosen_executor() is local_executor


def test_an_engine_that_is_not_known_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORT_ASSETS_ENGINE", "sge")

    with pytest.raises(InstanceError, match=r"SORT_ASSETS_ENGINE: .*'local', 'slurm', 'ray' or 'kubernetes'"):
        chosen_executor()
