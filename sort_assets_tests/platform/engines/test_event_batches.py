"""The events that plan a run are written in one transaction: the same events as one by one, and all or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqlEventLogStorage
from sqlalchemy import Connection, Engine, event

from sort_assets.definitions import defs
from sort_assets.platform.execution.home import prepare_home
from sort_assets_tests.fixtures.home import Home, make_home
from sort_assets_tests.fixtures.postgres import PostgresServer

KEY = "day.nwb"
PLANNING = {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.slow, pytest.mark.xdist_group("postgres")])]
)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_home(tmp_path_factory.mktemp("batches") / "home")
    if request.param == "sqlite":
        return home
    server: PostgresServer = request.getfixturevalue("postgres")
    home = replace(home, variables={**home.variables, "SORT_ASSETS_POSTGRES_URL": server.new_database()})
    with home.environment():
        prepare_home()
    return home


@contextmanager
def commits() -> Iterator[list[Connection]]:
    """The transactions that are committed meanwhile."""
    seen: list[Connection] = []

    def note(connection: Connection) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "commit", note)


def create_run(instance: dg.DagsterInstance) -> str:
    job = defs.resolve_job_def("sort_recording")
    return instance.create_run_for_job(job, tags={"dagster/partition": KEY}).run_id


def planned(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str, str]]:
    """Type and asset of the events that plan a run, in their order."""
    return [
        (entry.dagster_event.event_type_value, entry.dagster_event.message or "")
        for entry in instance.all_logs(run_id)
        if entry.dagster_event is not None and entry.dagster_event.event_type in PLANNING
    ]


def test_the_plan_of_a_run_is_the_same_as_one_by_one_with_few_transactions(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home.instance() as instance:
        create_run(instance)  # the first one makes tables and snapshots
        with commits() as together:
            run_id = create_run(instance)
        with monkeypatch.context() as patch:
            patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
            with commits() as one_by_one:
                other_id = create_run(instance)
        plan, other = planned(instance, run_id), planned(instance, other_id)
        asset = instance.get_asset_records([dg.AssetKey("sorting")])[0]

    assert len(plan) > 20
    assert plan == other
    assert len(together) <= 12
    # On PostgreSQL a single statement commits itself, and only what takes several is a transaction.
    assert len(one_by_one) >= len(together) + 5
    assert asset.asset_entry.last_run_id == other_id


def test_a_plan_that_can_not_be_written_together_is_written_one_by_one_and_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store, calls = SqlEventLogStorage.store_asset_check_event, []

    def fail_once(storage: SqlEventLogStorage, entry: dg.EventLogEntry, event_id: int | None) -> None:
        calls.append(event_id)
        if len(calls) == 1:
            raise LookupError("no such check")
        store(storage, entry, event_id)

    with home.instance() as instance:
        create_run(instance)
        monkeypatch.setattr(SqlEventLogStorage, "store_asset_check_event", fail_once)
        run_id = create_run(instance)
        plan = planned(instance, run_id)

    assert "no such check" in capfd.readouterr().err
    assert len(plan) > 20
    assert len(plan) == len(set(plan))
