"""Results are not trusted to an instance that forgets them, and an instance that lacks our settings is told so."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.definitions import defs
from sort_assets.platform.execution.home import SETTINGS
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets_tests.fixtures.home import CHEAP, Home, materialize_words

pytestmark = pytest.mark.slow


@contextmanager
def _in_memory(folder: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@contextmanager
def _as_dagster_dev_makes_it(folder: Path) -> Iterator[dg.DagsterInstance]:
    home = Path(tempfile.mkdtemp(prefix=".tmp_dagster_home_", dir=folder))
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        yield instance


@pytest.mark.parametrize("temporary", [_in_memory, _as_dagster_dev_makes_it])
def test_a_run_on_a_temporary_instance_fails_in_words_before_anything_is_written(
    home: Home, short_file: Path, temporary: Callable[[Path], AbstractContextManager[dg.DagsterInstance]]
) -> None:
    home.link(short_file, "day.nwb")
    with home.environment(), temporary(home.folder) as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, ["day.nwb"])
        result = defs.resolve_job_def("sort_recording").execute_in_process(
            instance=instance,
            partition_key="day.nwb",
            run_config={"resources": {"backend": {"config": CHEAP}}},
            raise_on_error=False,
        )

    (failed,) = result.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description).startswith("InstanceError: This Dagster instance is temporary")
    assert "sets DAGSTER_HOME, or set it to an absolute path" in str(failure.description)
    assert home.store.recordings() == []


@pytest.mark.parametrize("words", [["register", "recordings/day.nwb"], ["up"]], ids=["register", "up"])
def test_the_command_refuses_to_work_without_a_home(home: Home, short_file: Path, words: list[str]) -> None:
    home.link(short_file, "day.nwb")

    done = home.without("DAGSTER_HOME").command("sort-assets", *words, timeout=60)

    assert done.status == 1
    assert done.stdout == ""
    assert done.stderr.startswith("InstanceError: The environment variable DAGSTER_HOME is not set.")
    assert "Remedy: Run in the folder that `sort-assets init`" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    with home.instance() as instance:
        assert instance.get_dynamic_partitions(RECORDINGS_PARTITIONS) == []


def test_dagster_without_a_home_materializes_nothing(home: Home, short_file: Path, tmp_path: Path) -> None:
    key = home.register(home.link(short_file, "day.nwb"))

    done = home.without("DAGSTER_HOME").command(*materialize_words(key, config_file=tmp_path / "run.json"))

    assert done.status != 0
    assert home.store.recordings() == []


@pytest.mark.release
def test_an_instance_without_our_settings_is_named_in_the_log_of_each_run(home: Home, short_file: Path) -> None:
    key = home.register(home.link(short_file, "day.nwb"))
    settings = Path(home.variables["DAGSTER_HOME"], SETTINGS)
    settings.unlink()  # a link to ours
    settings.touch()

    result = home.materialize(key, "preprocessed_recording")

    assert result.success
    warnings = home.warnings(result.run_id)
    for lack in ("the pool 'gpu' has no limit", "run_monitoring is off", "free_slots_after_run_end_seconds is not set"):
        assert [line for line in warnings if f"lacks a setting of sort_assets' dagster.yaml: {lack}" in line]


@pytest.mark.release
def test_an_instance_with_our_settings_is_not(home: Home, short_file: Path) -> None:
    key = home.register(home.link(short_file, "day.nwb"))

    result = home.materialize(key, "preprocessed_recording")

    assert result.success
    assert home.warnings(result.run_id) == []
