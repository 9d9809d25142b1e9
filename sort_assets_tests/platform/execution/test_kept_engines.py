"""Engines of Dagster's SQLite files are made once by a process."""

import dagster as dg
import sqlalchemy
from sqlalchemy import event

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
