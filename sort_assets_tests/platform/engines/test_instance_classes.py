"""The classes that `dagster.yaml` names: Dagster's own without variables, the engine's with them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from sort_assets.errors import InstanceError
from sort_assets.platform.engines.instance_classes import InstanceStorage
from sort_assets_tests.fixtures.home import Home

_OF_ENGINES = ("dagster_postgres", "psycopg2", "dagster_ray", "ray", "dagster_k8s", "kubernetes")


def test_without_variables_the_instance_is_what_it_was(home: Home) -> None:
    with home.instance() as instance:
        logs = instance.compute_log_manager
        launcher = instance.run_launcher

    dagster_home = Path(home.variables["DAGSTER_HOME"])
    assert (dagster_home / "history" / "runs.db").exists()
    assert (dagster_home / "history" / "runs" / "index.db").exists()
    assert (dagster_home / "schedules" / "schedules.db").exists()
    assert isinstance(launcher, dg.DefaultRunLauncher)
    assert isinstance(logs, LocalComputeLogManager)
    assert Path(logs.get_captured_local_path(["run", "step"], "out")).is_relative_to(dagster_home / "storage")


def test_with_an_engine_the_output_of_steps_goes_below_the_store(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORT_ASSETS_ENGINE", "ray")

    with home.instance() as instance:
        logs = instance.compute_log_manager

    assert isinstance(logs, LocalComputeLogManager)
    assert Path(logs.get_captured_local_path(["run", "step"], "out")).is_relative_to(home.roots.store / "@compute_logs")
    assert home.store.recordings() == []


def test_what_travels_to_other_hosts_names_no_folder_of_the_store_and_no_database(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home.instance() as instance:
        reference = instance.get_ref()

    for part in (reference.storage_data, reference.run_launcher_data, reference.compute_logs_data):
        assert part is not None
        assert part.config_dict == {}


def test_without_the_packages_for_postgresql_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORT_ASSETS_POSTGRES_URL", "postgresql://lab:hunter2@host/dagster")
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)

    with pytest.raises(InstanceError, match=r"pip install 'sort-assets\[postgres\]'") as caught:
        InstanceStorage.from_config_value(None, {})

    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_without_variables_no_package_of_an_engine_is_imported(home: Home) -> None:
    code = (
        "import sys, dagster as dg, sort_assets.definitions\n"
        "with dg.DagsterInstance.get() as instance: instance.run_launcher, instance.compute_log_manager\n"
        f"print([name for name in {_OF_ENGINES} if name in sys.modules])"
    )

    with home.environment():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
