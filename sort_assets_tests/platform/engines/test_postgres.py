"""An instance in a real PostgreSQL: it waits while the server is away, and says clearly what it can't wait for."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg2
import pytest

from sort_assets.errors import DatabaseError
from sort_assets.platform.execution import database_wait
from sort_assets.platform.execution.home import prepare_home
from sort_assets_tests.fixtures.home import Home, make_home, materialize_words
from sort_assets_tests.fixtures.postgres import PASSWORD, PASSWORD_IN_ADDRESS, PostgresServer, postgres_server
from sort_assets_tests.fixtures.servers import up

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgres")]

FILTER = ("preprocessed_recording", "binary_dat")


def on_postgres(home: Home, address: str, *, wait_s: int = 120) -> Home:
    """The same home with its instance in a database, which is set up."""
    there = {"SORT_ASSETS_POSTGRES_URL": address, "SORT_ASSETS_DATABASE_WAIT_S": str(wait_s)}
    home = replace(home, variables={**home.variables, **there})
    with home.environment():
        prepare_home()
    return home


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands wait for ten seconds at most; the tests decide how long."""
    monkeypatch.setattr(database_wait, "_SHORT_S", 600.0)


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with its instance in a database."""
    return on_postgres(make_home(tmp_path_factory.mktemp("postgres") / "home"), postgres.new_database())


def test_a_run_waits_while_the_server_is_away_and_the_password_is_kept_nowhere(
    shared: Home, postgres: PostgresServer, short_file: Path, tmp_path: Path
) -> None:
    key = shared.register(shared.link(short_file, "away.nwb"))
    words = materialize_words(key, *FILTER, config_file=tmp_path / "run.json")

    run = shared.start(*words, output=tmp_path / "log")
    wait_for_event(shared, dg.DagsterEventType.STEP_START)
    command_lines = [
        (Path("/proc") / one / "cmdline").read_bytes() for one in processes_of_group(run.pid) if one.isdigit()
    ]
    with postgres.away():
        time.sleep(5)
        still_waits = run.poll() is None
    status = run.wait(timeout=240)

    log = (tmp_path / "log").read_text()
    assert still_waits
    assert status == 0, log
    assert "can't be reached; waiting up to" in log
    with shared.instance() as instance:
        (record,) = instance.get_run_records(limit=1)
        events = [entry.dagster_event for entry in instance.all_logs(record.dagster_run.run_id)]
    assert record.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    steps = [one.step_key for one in events if one is not None and one.event_type == dg.DagsterEventType.STEP_SUCCESS]
    assert sorted(steps) == sorted(FILTER)  # each once
    assert shared.store.versions(key, "binary_dat") != []

    database = shared.variables["SORT_ASSETS_POSTGRES_URL"].rpartition("/")[2]
    kept = subprocess.run(["grep", "-rlF", "-e", PASSWORD, "-e", PASSWORD_IN_ADDRESS, shared.folder], check=False)
    assert kept.returncode == 1
    for secret in (PASSWORD, PASSWORD_IN_ADDRESS):
        assert secret not in log
        assert not any(secret.encode() in line for line in command_lines)
        query = "SELECT count(*) FROM {} WHERE {} LIKE '%{}%'"
        for table, column in (("event_logs", "event"), ("runs", "run_body"), ("run_tags", "value")):
            assert postgres.execute(query.format(table, column, secret.replace("%", "\\%")), database) == [(0,)]


def test_neither_the_instance_nor_doctor_shows_the_password(shared: Home) -> None:
    with shared.instance() as instance:
        info = instance.info_str()
        reference = str(instance.get_ref().to_dict())
    doctor = shared.invoke("doctor", "--json")

    for text in (info, reference, doctor.output):
        assert PASSWORD not in text
        assert PASSWORD_IN_ADDRESS not in text
    (found,) = [one for one in json.loads(doctor.stdout) if one["subject"] == "instance"]
    assert found["level"] == "ok"


def test_calls_in_flight_survive_restarts_of_the_server(shared: Home, postgres: PostgresServer) -> None:
    problems: list[BaseException] = []
    over = threading.Event()
    calls = 0

    def ask_and_tell() -> None:
        nonlocal calls
        try:
            while not over.is_set():
                instance.get_runs(limit=1)
                instance.report_runless_asset_event(dg.AssetMaterialization("counted", metadata={"call": calls}))
                calls += 1
        except BaseException as error:
            problems.append(error)

    with shared.instance() as instance:
        thread = threading.Thread(target=ask_and_tell)
        thread.start()
        for _ in range(4):
            time.sleep(0.5)
            with postgres.away():
                pass
        over.set()
        thread.join(timeout=60)
        found = instance.fetch_materializations(dg.AssetKey("counted"), limit=10_000).records

    assert problems == []
    numbers = [one.asset_materialization.metadata["call"].value for one in found if one.asset_materialization]
    assert set(numbers) == set(range(calls))
    assert len(numbers) <= calls + 4  # one that was written although the answer was lost is written again


@pytest.mark.parametrize(
    ("address", "problem", "remedy"),
    [
        ("postgresql://dagster:wrong@127.0.0.1:{port}/postgres", "password authentication failed", "Correct user and"),
        ("postgresql://dagster@127.0.0.1:{port}/postgres", "no password supplied", "Put the password into"),
        (
            "postgresql://dagster:{password}@127.0.0.1:{port}/none",
            'database "none" does not exist',
            "Correct the database",
        ),
        ("postgresql://dagster:{password}@127.0.0.1:1/none", "could not be reached", "See that it runs"),
        ("postgresql://dagster:{password}@none.invalid/none", "could not be reached", "See that it runs"),
    ],
    ids=["password", "no-password", "database", "port", "host"],
)
def test_a_wrong_address_is_said_at_the_start(
    address: str, problem: str, remedy: str, shared: Home, postgres: PostgresServer
) -> None:
    given = address.format(port=postgres.port, password=PASSWORD_IN_ADDRESS)
    home = replace(
        shared,
        variables={**shared.variables, "SORT_ASSETS_POSTGRES_URL": given, "SORT_ASSETS_DATABASE_WAIT_S": "1"},
    )

    done = home.invoke("init")

    assert done.status == 1
    assert problem in done.stderr
    assert f"Remedy: {remedy}" in done.stderr
    assert done.stderr.startswith("DatabaseError: ")
    assert PASSWORD not in done.stderr
    assert "wrong" not in done.stderr


def test_a_server_that_stays_away_is_given_up_with_a_remedy(shared: Home, postgres: PostgresServer) -> None:
    home = replace(shared, variables={**shared.variables, "SORT_ASSETS_DATABASE_WAIT_S": "1"})
    with home.instance() as instance:
        with home.environment(), postgres.away(), pytest.raises(DatabaseError, match=r"could not be reached for \d s"):
            instance.get_runs(limit=1)

        assert instance.get_runs(limit=1) is not None  # back


def test_without_a_free_connection_it_waits_and_then_says_what_to_raise(shared: Home, postgres: PostgresServer) -> None:
    address = shared.variables["SORT_ASSETS_POSTGRES_URL"]
    database = address.rpartition("/")[2]
    home = replace(shared, variables={**shared.variables, "SORT_ASSETS_DATABASE_WAIT_S": "2"})
    with ExitStack() as held, home.instance() as instance, home.environment():
        postgres.execute(f"ALTER DATABASE {database} CONNECTION LIMIT 1")
        held.callback(postgres.execute, f"ALTER DATABASE {database} CONNECTION LIMIT -1")
        other = psycopg2.connect(address)
        held.callback(other.close)

        with pytest.raises(DatabaseError, match=r"no connection free for \d s: .*Raise max_connections"):
            instance.get_runs(limit=1)
        threading.Timer(0.5, other.close).start()

        assert instance.get_runs(limit=1) is not None


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[tuple[PostgresServer, Path]]:
    """A server whose data is on a disk of 120 MB of its own, and the folder of that disk."""
    disk = Path("/tmp", f"sort_assets-disk-{time.time_ns()}")
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    try:
        if mounted.returncode != 0:
            pytest.skip(f"a file system can't be mounted here: {mounted.stderr.strip()}")
        with postgres_server(disk) as server:
            yield server, disk
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


@pytest.mark.release
def test_while_the_servers_disk_is_full_runs_wait_and_then_say_so(
    home: Home, small_server: tuple[PostgresServer, Path]
) -> None:
    server, disk = small_server
    home = on_postgres(home, server.new_database(), wait_s=6)
    filler = disk / "filler"
    large = dg.AssetMaterialization("large", metadata={"text": "x" * 2_000_000})
    with home.instance() as instance, home.environment():
        with filler.open("wb") as file:
            file.write(b"x" * (shutil.disk_usage(disk).free - 300_000))

        with pytest.raises(DatabaseError, match=r"disk of the PostgreSQL server has been full.*Free space"):
            _report_again_and_again(instance, large)
        threading.Timer(2.0, filler.unlink).start()
        instance.report_runless_asset_event(large)

        assert instance.get_latest_materialization_event(dg.AssetKey("large")) is not None


@pytest.mark.release
def test_a_minute_without_the_database_under_the_daemon_costs_nothing(
    home: Home, postgres: PostgresServer, short_file: Path, tmp_path: Path
) -> None:
    home = on_postgres(home, postgres.new_database(), wait_s=300)
    (home.roots.recordings / "sort_assets.yaml").write_text("arrival: {quiet_s: 1}", encoding="utf-8")
    for name in ("a.nwb", "b.nwb"):
        home.link(short_file, name)
    with up(home, tmp_path / "log") as (_, servers):  # its sensor registers them and starts the runs
        wait_for_event(home, dg.DagsterEventType.STEP_START, timeout_s=240)
        with postgres.away():
            time.sleep(60)
            assert servers.poll() is None
        with home.instance() as instance:
            deadline = time.monotonic() + 600
            while True:
                runs = instance.get_runs(dg.RunsFilter(job_name="sort_recording"))
                if len(runs) == 2 and all(run.is_finished for run in runs):
                    break
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(2)

    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2


def _report_again_and_again(instance: dg.DagsterInstance, event: dg.AssetMaterialization) -> None:
    for _ in range(20):
        instance.report_runless_asset_event(event)


def wait_for_event(home: Home, kind: dg.DagsterEventType, timeout_s: float = 120.0) -> None:
    """Wait until some run has an event of a kind."""
    deadline = time.monotonic() + timeout_s
    with home.instance() as instance:
        while not any(instance.all_logs(run.run_id, of_type=kind) for run in instance.get_runs(limit=5)):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def processes_of_group(group: int) -> list[str]:
    """The ids of the processes of a group."""
    done = subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True, check=True)
    return done.stdout.split()
