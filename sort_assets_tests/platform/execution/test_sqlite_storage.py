"""Engines of Dagster's SQLite files, and Dagster's migrations, are made once by a process."""

import dagster as dg
import pytest
import sqlalchemy
from alembic.script import revision
from sqlalchemy import event

from sort_assets.platform.execution.sqlite_storage import read_migrations
from sort_assets_tests.fixtures.home import Home


@dg.op
def says_something(context: dg.OpExecutionContext) -> None:
    for number in range(5):
        context.log.info(f"line {number}")


@dg.job
def talks() -> None:
    says_something()


def test_the_events_of_a_run_need_a_handful_of_engines(home: Home) -> None:
    made: list[sqlalchemy.Engine] = []

    def note(connection: sqlalchemy.Connection) -> None:
        if connection.engine not in made:
            made.append(connection.engine)

    event.listen(sqlalchemy.Engine, "engine_connect", note)
    try:
        with home.instance() as instance:
            run = talks.execute_in_process(instance=instance)
            events = instance.all_logs(run.run_id)
    finally:
        event.remove(sqlalchemy.Engine, "engine_connect", note)

    assert run.success
    assert len(events) > 10
    assert len(made) <= 5


def test_an_instance_that_is_opened_reads_no_migration_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    read_migrations()
    maps: list[object] = []
    add = revision.RevisionMap._map_branch_labels
    monkeypatch.setattr(
        revision.RevisionMap, "_map_branch_labels", lambda self, *given: (maps.append(self), add(self, *given))[1]
    )

    with home.instance() as instance:
        instance.get_runs(limit=1)
        instance.get_dynamic_partitions("")
        versions = {instance.run_storage.alembic_version(), instance.event_log_storage.alembic_version()}

    assert maps == []
    assert all(database == newest for database, newest in versions)
