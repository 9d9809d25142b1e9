"""The instance's database during a soak, and how it is cut and taken away."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE, POSTGRES_VARIABLE
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.postgres import PostgresServer, postgres_server

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"


class Database(Protocol):
    """A database that can be taken away for a while."""

    variables: Mapping[str, str]
    """What the environment says of it."""
    can_cut: bool
    """Whether it has connections that can be cut."""
    away_s: tuple[float, float]
    """Shortest and longest time for which it may be away."""

    def take_away(self) -> None:
        """Let nobody use it any more."""

    def bring_back(self) -> None:
        """Let everybody use it again; does nothing where it was not away."""

    def cut(self) -> None:
        """End all connections."""


class SqliteFiles:
    """SQLite's files in the home: away means that another program holds their write lock, as a backup does.

    Parameters
    ----------
    home : Home
    """

    variables: Mapping[str, str] = {}
    can_cut = False
    # Dagster waits 30 s for a lock; what holds one for longer is no program that a lab runs.
    away_s = (10.0, 25.0)

    def __init__(self, home: Home) -> None:
        self._folder = Path(home.variables[DAGSTER_HOME_VARIABLE])
        self._held: list[sqlite3.Connection] = []

    def take_away(self) -> None:
        for name in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"):
            connection = sqlite3.connect(self._folder / name, timeout=5, check_same_thread=False, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            self._held.append(connection)

    def bring_back(self) -> None:
        for connection in self._held:
            connection.rollback()
            connection.close()
        self._held.clear()

    def cut(self) -> None:
        raise AssertionError("files have no connections")


class Postgres:
    """A PostgreSQL server.

    Parameters
    ----------
    server : PostgresServer
    """

    can_cut = True
    away_s = (20.0, 60.0)

    def __init__(self, server: PostgresServer) -> None:
        self._server, self._is_away = server, False
        self.variables: Mapping[str, str] = {POSTGRES_VARIABLE: server.new_database()}

    def take_away(self) -> None:
        self._server.stop()
        self._is_away = True

    def bring_back(self) -> None:
        if self._is_away:
            self._server.start()
            self._is_away = False

    def cut(self) -> None:
        self._server.execute(_CUT)


@contextmanager
def database(name: str, home: Home | None) -> Iterator[Database]:
    """The database of that name: "postgres", or "sqlite" of a home."""
    if name == "sqlite":
        assert home is not None
        yield SqliteFiles(home)
        return
    with postgres_server() as server:
        yield Postgres(server)
