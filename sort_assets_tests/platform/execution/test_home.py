"""Setting up: the .env, the folders, the instance."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sort_assets.errors import InstanceError
from sort_assets.platform.cli import main
from sort_assets.platform.execution.home import (
    allow_runs_for,
    load_environment,
    open_instance,
    prepare_home,
    size_gpu_pool,
    write_environment,
)
from sort_assets.platform.execution.instance import missing_settings
from sort_assets_tests.fixtures.fake_driver import A4000, FakeDriver

VARIABLES = ("DAGSTER_HOME", "SORT_ASSETS_RECORDINGS", "SORT_ASSETS_STORE")
# Forked when Dagster is imported, so that they really open it at once.
OPEN_AT_ONCE = """
import multiprocessing, sys
import dagster as dg
def add(number):
    dg.DagsterInstance.get().add_dynamic_partitions("recordings", [str(number)])
fork = multiprocessing.get_context("fork")
processes = [fork.Process(target=add, args=(number,)) for number in range(6)]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(any(process.exitcode for process in processes))
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the working directory, and no variable set."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # so that what load_environment sets is undone
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkout_gets_working_defaults(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()

    roots = prepare_home()

    assert roots.store == checkout / "data/store"
    assert os.environ["DAGSTER_HOME"] == str(checkout / "data/dagster")
    with open_instance() as instance:
        assert missing_settings(instance) == []
        assert size_gpu_pool(instance) >= 1
        assert {pool.name for pool in instance.event_log_storage.get_pool_limits()} == {"gpu"}


def limits() -> tuple[int, int]:
    """How many runs the settings of the home allow: of recordings, and in all."""
    with open_instance() as instance:
        config = instance.get_concurrency_config().run_queue_config
        assert config is not None
        (of_recordings,) = config.tag_concurrency_limits or ()
        return int(of_recordings["limit"]), config.max_concurrent_runs


def test_as_many_recordings_are_in_progress_as_the_gpus_need(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    settings = checkout / "data/dagster/dagster.yaml"

    allow_runs_for(4)
    assert limits() == (10, 12)
    assert "# a slot is held by a step" in settings.read_text()  # the comments stay
    prepare_home()  # which every command does
    assert limits() == (10, 12)
    allow_runs_for(1)
    assert settings.is_symlink()
    assert limits() == (4, 6)


def test_gpus_that_an_engine_has_are_those_that_the_environment_names(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    monkeypatch.setenv("SORT_ASSETS_GPUS", "7")

    with open_instance() as instance:
        sorts = size_gpu_pool(instance)
        (here,) = instance.event_log_storage.get_pool_limits()
        monkeypatch.setenv("SORT_ASSETS_ENGINE", "ray")
        size_gpu_pool(instance)
        (elsewhere,) = instance.event_log_storage.get_pool_limits()

    assert sorts == 7
    assert (here.name, here.limit) == ("gpu", 2 * 7 + 1)  # the next sorts get ready while others have the GPUs
    assert (elsewhere.name, elsewhere.limit) == ("gpu", 7)


def test_sorts_that_share_a_gpu_get_as_many_slots_as_on_gpus_of_their_own(
    checkout: Path, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    driver.answer(A4000)
    monkeypatch.setenv("SORT_ASSETS_SORTS_PER_GPU", "3")

    with open_instance() as instance:
        sorts = size_gpu_pool(instance)
        (pool,) = instance.event_log_storage.get_pool_limits()

    assert sorts == 3
    assert pool.limit == 2 * 3 + 1


def test_a_home_follows_the_engine_and_comes_back(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    allow_runs_for(4)
    settings = checkout / "data/dagster/dagster.yaml"

    monkeypatch.setenv("SORT_ASSETS_ENGINE", "slurm")
    prepare_home()

    with open_instance() as instance:
        assert instance.run_monitoring_start_timeout_seconds > 30 * 24 * 3600  # a job waits in Slurm's queue for days
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
    assert limits() == (10, 12)

    monkeypatch.setenv("SORT_ASSETS_SLURM_JOBS", "gpu_steps")  # run workers start on this host
    prepare_home()

    with open_instance() as instance:
        assert instance.run_monitoring_start_timeout_seconds == 180

    monkeypatch.delenv("SORT_ASSETS_ENGINE")
    prepare_home()

    with open_instance() as instance:
        assert instance.run_retries_enabled  # on one workstation, too, run workers are killed
    assert limits() == (10, 12)
    allow_runs_for(1)
    assert settings.is_symlink()


def test_a_copy_that_an_earlier_version_wrote_follows_this_one(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    settings = checkout / "data/dagster/dagster.yaml"
    old = settings.read_text().replace("_runs: 6", "_runs: 12").replace("limit: 4", "limit: 10")
    begin, end = old.index("storage:\n"), old.index("concurrency:")
    settings.unlink()
    first = "# Written by `sort-assets up` for the GPUs of this machine; without this line, it is left as it is.\n"
    settings.write_text(first + old[:begin] + old[end:])

    prepare_home()

    assert "InstanceStorage" in settings.read_text()
    assert limits() == (10, 12)


def test_settings_that_name_the_modules_of_an_earlier_version_are_renewed_or_a_person_is_told(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    allow_runs_for(4)
    settings = checkout / "data/dagster/dagster.yaml"
    ours = settings.read_text()
    old = ours
    for name in ("instance_storage", "run_launcher", "compute_logs"):
        old = old.replace("platform.engines.instance_classes", f"platform.engines.{name}", 1)
    assert "instance_classes" not in old

    settings.write_text(old)
    prepare_home()

    assert settings.read_text() == ours
    settings.write_text(old.split("\n", 1)[1])  # without the line that says that it is ours

    with pytest.raises(InstanceError, match=r"Couldn't import module.*Remedy: Replace '.*dagster.yaml'"):
        prepare_home()


def test_a_copy_of_ours_that_was_cut_off_is_replaced(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    settings = checkout / "data/dagster/dagster.yaml"
    settings.unlink()
    settings.write_text("# Written by `sort-assets up` for the GPUs of this machine\nconcurrency:\n")

    prepare_home()

    assert limits() == (4, 6)


@pytest.mark.parametrize(
    ("variable", "value", "lack"),
    [
        ("SORT_ASSETS_POSTGRES_URL", "postgresql://lab:hunter2@localhost/dagster", "no `storage`"),
        ("SORT_ASSETS_ENGINE", "slurm", "no `run_launcher`"),
        ("SORT_ASSETS_ENGINE", "ray", "no `compute_logs`"),
    ],
)
def test_settings_of_a_person_that_lack_what_the_environment_asks_for_are_refused(
    variable: str, value: str, lack: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    (checkout / "data/dagster").mkdir(parents=True)
    (checkout / "data/dagster/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    prepare_home()  # without an engine, such settings are valid
    monkeypatch.setenv(variable, value)

    with pytest.raises(InstanceError, match=rf"{lack} of sort_assets.*Remedy: Replace it by") as caught:
        prepare_home()

    assert "hunter2" not in str(caught.value)
    with open_instance() as instance:
        assert any(lack in one for one in missing_settings(instance))


def test_settings_of_a_person_are_left_alone(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()
    settings = checkout / "data/dagster/dagster.yaml"
    text = settings.read_text()
    settings.unlink()
    settings.write_text(text)

    allow_runs_for(4)

    assert settings.read_text() == text

    mine = settings.rename(checkout / "mine.yaml")
    settings.symlink_to(mine)

    allow_runs_for(4)

    assert settings.readlink() == mine


def test_a_variable_that_is_set_wins_over_the_default_here_and_in_dagster(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(checkout, checkout / "data")
    monkeypatch.setenv("SORT_ASSETS_STORE", "/elsewhere")
    load_environment()
    code = "from dagster._cli.utils import get_env_var_dict as d; print(d('.')['SORT_ASSETS_STORE'])"
    dagster = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert os.environ["SORT_ASSETS_STORE"] == "/elsewhere"
    assert dagster.stdout.strip() == "/elsewhere"


def test_an_env_file_that_a_person_changed_is_kept(checkout: Path) -> None:
    (checkout / ".env").write_text("SORT_ASSETS_STORE=/mine\n")

    write_environment(checkout, checkout / "data")

    assert (checkout / ".env").read_text() == "SORT_ASSETS_STORE=/mine\n"


def test_a_folder_that_is_named_takes_precedence_over_the_environment_of_another(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORT_ASSETS_STORE", "/elsewhere")

    done = CliRunner().invoke(main, ["init", "lab"], catch_exceptions=False)

    assert done.exit_code == 0, done.output
    assert {path.name for path in (checkout / "lab").iterdir()} == {".env", "recordings", "store", "dagster"}
    assert f"SORT_ASSETS_STORE={checkout / 'lab/store'}\n" in (checkout / "lab/.env").read_text()
    assert (checkout / "lab/dagster/dagster.yaml").is_file()


def test_without_settings_there_is_a_clear_error(checkout: Path) -> None:
    with pytest.raises(InstanceError, match=r"SORT_ASSETS_RECORDINGS is not set.*Remedy"):
        prepare_home()


@pytest.mark.parametrize(
    ("recordings", "store"), [("rig", "rig/results"), ("data/rig", "data"), ("rig", "rig"), ("rig", "link/results")]
)
def test_results_may_not_lie_among_the_recordings(
    recordings: str, store: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "rig").mkdir()
    (checkout / "link").symlink_to(checkout / "rig")
    monkeypatch.setenv("DAGSTER_HOME", str(checkout / "dagster"))
    monkeypatch.setenv("SORT_ASSETS_RECORDINGS", str(checkout / recordings))
    monkeypatch.setenv("SORT_ASSETS_STORE", str(checkout / store))

    with pytest.raises(InstanceError, match=r"one lies in the other.*Remedy: Set SORT_ASSETS_STORE"):
        prepare_home()

    assert not (checkout / "dagster").exists()


def test_a_relative_home_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "data")

    with pytest.raises(InstanceError, match=r"DAGSTER_HOME is 'data', which is not absolute.*Remedy"):
        open_instance()


def test_settings_that_name_a_class_which_is_gone_are_an_error_with_a_remedy(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    gone = "run_coordinator: {module: sort_assets.platform.execution.run_queue, class: PeopleFirstRunCoordinator}\n"
    (checkout / "data/dagster").mkdir(parents=True)
    (checkout / "data/dagster/dagster.yaml").write_text(gone)

    with pytest.raises(InstanceError, match=r"Couldn't import module.*Remedy: Replace '.*dagster.yaml'"):
        prepare_home()


@pytest.mark.release
def test_six_processes_may_open_a_prepared_home_at_once(checkout: Path) -> None:
    write_environment(checkout, checkout / "data")
    load_environment()
    prepare_home()

    done = subprocess.run([sys.executable, "-c", OPEN_AT_ONCE], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    with open_instance() as instance:
        assert sorted(instance.get_dynamic_partitions("recordings")) == ["0", "1", "2", "3", "4", "5"]
