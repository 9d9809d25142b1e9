"""The logs of old runs go; what the platform reads from the instance stays."""

import json
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.platform.automation.run_logs import remove_logs
from sort_assets.platform.execution.home import prepare_home
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.postgres import PostgresServer


@dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="made")])
def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("a line that nobody needs in a year")
    return dg.MaterializeResult(metadata={"units": 5}, check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset
def broken() -> None:
    raise ValueError("why it failed")


def _run_and_remove(instance: dg.DagsterInstance) -> tuple[dg.DagsterRun, dg.DagsterRun]:
    good = dg.materialize([made], instance=instance, tags={"sort_assets/run_key": "x"})
    bad = dg.materialize([broken], instance=instance, raise_on_error=False)
    before = len(instance.all_logs(good.run_id))

    assert remove_logs(instance, 1.0).runs == 0  # both ended today
    assert remove_logs(instance, 0.0, dry_run=True).runs == 2
    assert len(instance.all_logs(good.run_id)) == before
    removed = remove_logs(instance, 0.0)
    again = remove_logs(instance, 0.0)

    assert removed.runs == 2
    assert removed.lines > 5
    assert again.runs == 0
    return good.dagster_run, bad.dagster_run


def _assert_the_rest_is_there(instance: dg.DagsterInstance, good: dg.DagsterRun, bad: dg.DagsterRun) -> None:
    texts = [entry.user_message for entry in instance.all_logs(good.run_id)]
    assert not any("nobody needs" in text for text in texts)
    materialization = instance.get_latest_materialization_event(dg.AssetKey("made"))
    assert materialization is not None
    assert materialization.asset_materialization is not None
    assert materialization.asset_materialization.metadata["units"].value == 5
    (check,) = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("made"), "good"), limit=5
    )
    assert check.event is not None
    failures = instance.all_logs(bad.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert "why it failed" in str(failures[0].dagster_event)
    changes = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=5).records
    assert [one.event_log_entry.run_id for one in changes] == [bad.run_id]
    kept = instance.get_run_by_id(good.run_id)
    assert kept is not None
    assert kept.status == dg.DagsterRunStatus.SUCCESS
    assert kept.tags["sort_assets/run_key"] == "x"


def test_in_sqlite_lines_go_and_what_is_read_stays(home: Home) -> None:
    with home.instance() as instance:
        good, bad = _run_and_remove(instance)
        _assert_the_rest_is_there(instance, good, bad)


def test_what_steps_printed_goes(home: Home) -> None:
    with home.instance() as instance:
        run = dg.materialize([made], instance=instance)
        printed = Path(instance.root_directory, "storage", run.run_id, "compute_logs")
        printed.mkdir(parents=True, exist_ok=True)
        (printed / "step.out").write_text("a lot", encoding="utf-8")

    done = home.invoke("gc", "--logs-older-than", "0", "--json")

    assert done.status == 0
    assert json.loads(done.stdout)["logs"]["runs"] == 1
    assert not printed.exists()


@pytest.mark.slow
@pytest.mark.xdist_group("postgres")
def test_in_postgresql_lines_go_and_what_is_read_stays(
    home: Home, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORT_ASSETS_POSTGRES_URL", postgres.new_database())
    with home.environment():
        prepare_home()
    with home.instance() as instance:
        good, bad = _run_and_remove(instance)
        _assert_the_rest_is_there(instance, good, bad)
