"""Connections to the PostgreSQL of the Dagster instance, which wait while the server is away.

SQLAlchemy finds `WaitingDialect` by the scheme of the addresses that `prepare_address` gives. These hold no password,
so that none can get into a log; it is added where a connection is made.
"""

import functools
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import URL, make_url

from sort_assets.config.settings import DATABASE_WAIT_VARIABLE, POSTGRES_VARIABLE
from sort_assets.errors import DatabaseError
from sort_assets.platform.execution.database_wait import database_wait_s

_SCHEME = "postgresql+sort_assets"
_ACCEPTED = ("postgresql", "postgres", "postgresql+psycopg2")
_LONGEST_PAUSE_S = 5.0
_TOLD_EVERY_S = 60.0
_LOG = logging.getLogger(__name__)

_PASSWORDS: dict[str, str | None] = {}
"""Of this process: the password for each address without one."""

_SECRETS = {"password", "sslpassword"}
_PARAMETERS: Mapping[str, int] = {
    # A host that does not answer: without these, a connection hangs for hours after a cable was pulled.
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

_WRITING = "in the password, write @ as %40, / as %2F, : as %3A and % as %25."
_REMEDIES: Mapping[str, str] = {
    "password authentication failed": f"Correct user and password in {POSTGRES_VARIABLE}; {_WRITING}",
    "no password supplied": f"Put the password into {POSTGRES_VARIABLE}: postgresql://user:password@host/database.",
    "no pg_hba.conf entry": "Allow this host, user and database in pg_hba.conf of the server, and reload it.",
    'role ".*" does not exist': f"Correct the user in {POSTGRES_VARIABLE}, or make it on the server: "
    "`createuser --pwprompt NAME`.",
    'database ".*" does not exist': f"Correct the database in {POSTGRES_VARIABLE}, or make it on the server: "
    "`createdb --owner USER NAME`.",
    "permission denied": "Let the user connect to this database: `GRANT CONNECT ON DATABASE … TO …` on the server.",
}
"""What to do about a refusal, by a pattern of the server's message (English; other languages are waited for)."""
_TOO_MANY = ("too many clients", "too many connections", "remaining connection slots")


class WaitingDialect(PGDialect_psycopg2):
    """Psycopg's dialect, whose connections wait while the server is away or has no connection free."""

    driver = "sort_assets"
    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> Any:
        """What psycopg2 is called with: the address, its password, and when a silent host is given up."""
        password = _PASSWORDS.get(url.render_as_string())
        arguments, parameters = super().create_connect_args(url.set(password=password))  # type: ignore[no-untyped-call]
        return arguments, {**_PARAMETERS, **parameters}

    def connect(self, *arguments: Any, **parameters: Any) -> Any:
        """A connection.

        Raises
        ------
        DatabaseError
            When access is refused, or the server stays away.
        """
        where = f"PostgreSQL at {parameters.get('host', 'this host')}:{parameters.get('port', 5432)}"
        connect = functools.partial(super().connect, *arguments, **parameters)
        return _when_it_answers(where, connect, self.loaded_dbapi.OperationalError)


registry.register("postgresql.sort_assets", __name__, WaitingDialect.__name__)


def prepare_address(secret: SecretStr) -> str:
    """The address of a database without its password, which this process remembers.

    Parameters
    ----------
    secret : SecretStr
        What `SORT_ASSETS_POSTGRES_URL` says.

    Raises
    ------
    DatabaseError
        When it is no address of a PostgreSQL database; the message does not quote it.
    """
    try:
        url = make_url(secret.get_secret_value())
    except Exception:  # ArgumentError or, for what stands in place of the port, ValueError: some quote the value
        raise _no_address("it is not of the form postgresql://user:password@host/database") from None
    if url.drivername not in _ACCEPTED:
        raise _no_address("it does not begin with postgresql://")
    if "@" in (url.host or ""):
        raise _no_address("there is more than one @")
    if not _SECRETS.isdisjoint(url.query):
        raise _no_address("a password stands behind the question mark, where it would be printed")
    if not url.database:
        raise _no_address("it names no database")
    without = URL.create(_SCHEME, url.username, None, url.host, url.port, url.database, url.query)
    address = without.render_as_string()
    _PASSWORDS[address] = None if url.password is None else str(url.password)
    return address


def _no_address(why: str) -> DatabaseError:
    return DatabaseError(
        f"{POSTGRES_VARIABLE} can't be used: {why}.",
        remedy=f"Write postgresql://user:password@host/database; {_WRITING}",
    )


def _when_it_answers(where: str, connect: Callable[[], Any], no_connection: type[Exception]) -> Any:
    """Connect, waiting while the server is away.

    Parameters
    ----------
    where : str
        The server, in words.
    connect : callable
    no_connection : type of exception
        What `connect` raises when the server does not answer, or refuses.
    """
    began = time.monotonic()
    wait_s = database_wait_s()
    pause_s, told = 0.2, -_TOLD_EVERY_S
    while True:
        try:
            connection = connect()
        except no_connection as error:
            reason = " ".join(str(error).split()).rstrip(".?")
            refusal = next((remedy for part, remedy in _REMEDIES.items() if re.search(part, reason)), None)
            if refusal is not None:
                raise DatabaseError(f"{where} refuses the connection: {reason}.", remedy=refusal) from None
            waited = time.monotonic() - began
            if waited + pause_s > wait_s:
                raise _stays_away(where, reason, waited) from None
            if waited - told >= _TOLD_EVERY_S:
                _LOG.warning("%s can't be reached; waiting up to %.0f s for it: %s", where, wait_s - waited, reason)
                told = waited
        else:
            if told >= 0:
                _LOG.warning("%s is back after %.0f s.", where, time.monotonic() - began)
            return connection
        time.sleep(pause_s * random.uniform(0.5, 1.0))  # many processes wait, and should not all come at once
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _stays_away(where: str, reason: str, waited: float) -> DatabaseError:
    if any(part in reason for part in _TOO_MANY):
        return DatabaseError(
            f"{where} has had no connection free for {waited:.0f} s: {reason}.",
            remedy="Raise max_connections in postgresql.conf (300 for 30 runs at a time) or the limit of the user or "
            "database, and restart the server; or let fewer runs be in progress (concurrency.runs in dagster.yaml).",
        )
    return DatabaseError(
        f"{where} could not be reached for {waited:.0f} s: {reason}.",
        remedy=f"See that it runs and that this host can reach it ({POSTGRES_VARIABLE} names it). Runs that ended "
        "meanwhile are launched again with `sort-assets retry-failed`; "
        f"{DATABASE_WAIT_VARIABLE} says how long runs wait.",
    )
