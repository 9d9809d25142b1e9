"""The address of the database: a wrong one is named without quoting it, and the password stays out of all texts."""

import traceback

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from sort_assets.errors import DatabaseError
from sort_assets.platform.engines.postgres_connection import WaitingDialect, prepare_address


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("postgresql://lab:hun@ter2@host/dagster", "more than one @"),
        ("postgresql://lab:hun@ter:2@host/dagster", "not of the form"),
        ("hunter2", "not of the form"),
        ("mysql://lab:hunter2@host/dagster", "does not begin with postgresql://"),
        ("postgresql://lab:hunter2@host/", "names no database"),
        ("postgresql://lab@host/dagster?password=hunter2", "behind the question mark"),
    ],
)
def test_what_is_no_address_is_refused_without_quoting_it(address: str, why: str) -> None:
    with pytest.raises(DatabaseError, match=why) as caught:
        prepare_address(SecretStr(address))

    printed = "".join(traceback.format_exception(caught.value))
    assert "hun" not in printed
    assert "ter:2" not in printed


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_the_password_is_added_where_a_connection_is_made_and_stands_nowhere_else(scheme: str) -> None:
    address = prepare_address(SecretStr(f"{scheme}://lab:hunter%402@host:5433/dagster?sslmode=require"))

    _, parameters = WaitingDialect().create_connect_args(make_url(address))

    assert address == "postgresql+sort_assets://lab@host:5433/dagster?sslmode=require"
    assert parameters["password"] == "hunter@2"
    assert parameters["sslmode"] == "require"
    assert parameters["connect_timeout"] == 10


def test_an_address_decides_itself_how_long_a_silent_host_is_waited_for() -> None:
    address = prepare_address(SecretStr("postgresql://lab@host/dagster?connect_timeout=3"))

    _, parameters = WaitingDialect().create_connect_args(make_url(address))

    assert parameters["connect_timeout"] == "3"
