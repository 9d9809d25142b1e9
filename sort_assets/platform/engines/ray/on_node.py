"""What starts a step on a node of Ray, once the node has what the step needs.

The node's own environment, that of its `ray start`, wins: paths may differ from host to host. What it does not name is
as on the control host. A password is never told to a node, since Ray's dashboard shows what its jobs are started with.
"""

import argparse
import importlib.metadata
import json
import os
import runpy
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from sort_assets.config.settings import (
    CORES_VARIABLE,
    DAGSTER_HOME_VARIABLE,
    LEASES_VARIABLE,
    POSTGRES_VARIABLE,
    RECORDINGS_VARIABLE,
    STORE_VARIABLE,
    read_environment,
)
from sort_assets.errors import InstanceError, SortAssetsError
from sort_assets.platform.engines.told_variables import told_to_nodes

CANNOT_RUN_HERE = 78  # EX_CONFIG of sysexits.h
"""Exit status where the node lacks something; a line of the output says what, as JSON."""
LACK = "sort_assets lacks: "
"""How that line begins."""
CHECKED_PACKAGES = ("sort-assets", "dagster")
"""Their versions must be those of the control host: results name them, and Dagster's own messages change."""

_SECRETS = {"password", "sslpassword"}
"""Parts of a query in an address of PostgreSQL that nobody may see."""
_OWN_OF_EACH_HOST = {CORES_VARIABLE, LEASES_VARIABLE}


def step_words(cpus: int) -> list[str]:
    """The command of a job that executes a step; which step, Dagster's own variables say.

    Parameters
    ----------
    cpus : int
        The cores that the step was given.
    """
    words = ["python", "-m", __name__, "--cpus", str(cpus)]
    for package in CHECKED_PACKAGES:
        words += ["--version", f"{package}={importlib.metadata.version(package)}"]
    environment = read_environment()
    told = told_to_nodes(environment, without=_OWN_OF_EACH_HOST)
    if environment.postgres_url is not None:
        address = make_url(environment.postgres_url.get_secret_value())
        told[POSTGRES_VARIABLE] = _without_secrets(address)
        if address.password is not None or not _SECRETS.isdisjoint(address.query):
            words.append("--needs-password")
    for name, value in told.items():
        words += ["--default", f"{name}={value}"]
    return words


def _without_secrets(address: URL) -> str:
    public = URL.create(
        address.drivername, address.username, None, address.host, address.port, address.database, address.query
    )
    return public.difference_update_query(_SECRETS).render_as_string(hide_password=False)


def main(words: Sequence[str]) -> None:
    """Check this node, then execute the step as `dagster api execute_step` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--version", action="append", default=[])
    parser.add_argument("--default", action="append", default=[])
    parser.add_argument("--needs-password", action="store_true")
    asked = parser.parse_args(words)
    needs_password = asked.needs_password and not os.environ.get(POSTGRES_VARIABLE)
    for name, value in (pair.split("=", 1) for pair in asked.default):
        os.environ[name] = os.environ.get(name) or value
    os.environ[CORES_VARIABLE] = str(asked.cpus)
    try:
        _check_versions(dict(pair.split("=", 1) for pair in asked.version))
        _check_folders()
        _check_database(needs_password=needs_password)
    except SortAssetsError as lack:
        print(f"{LACK}{json.dumps(lack.to_dict())}", flush=True)
        sys.exit(CANNOT_RUN_HERE)
    sys.argv = ["dagster", "api", "execute_step"]
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


def _check_versions(of_control_host: dict[str, str]) -> None:
    here = {package: importlib.metadata.version(package) for package in of_control_host}
    if here != of_control_host:
        raise InstanceError(
            f"Node {socket.gethostname()} has {_listed(here)}, the control host {_listed(of_control_host)}.",
            remedy=f"Install the same versions in the environment of the node's `ray start` ({sys.prefix}), and start "
            "Ray there again.",
        )


def _listed(versions: dict[str, str]) -> str:
    return " and ".join(f"{package} {version}" for package, version in versions.items())


def _check_folders() -> None:
    for variable in (RECORDINGS_VARIABLE, STORE_VARIABLE):
        folder = os.environ.get(variable)
        if not folder or not Path(folder).is_dir():
            raise InstanceError(
                f"Node {socket.gethostname()} has no folder '{folder or ''}', which {variable} names.",
                remedy=f"Mount it there or, where it has another path on that node, set {variable} in the environment "
                "of the node's `ray start`.",
            )


def _check_database(*, needs_password: bool) -> None:
    address = os.environ.get(POSTGRES_VARIABLE)
    if not address:
        home = os.environ.get(DAGSTER_HOME_VARIABLE)
        if not home or not Path(home).is_dir():
            raise InstanceError(
                f"Node {socket.gethostname()} can't reach the Dagster instance: its database is files in the home of "
                "the control host.",
                remedy=f"Set {POSTGRES_VARIABLE} on the control host, and in the environment of the node's `ray "
                "start`.",
            )
    elif needs_password and not any(_places_of_a_password()):
        raise InstanceError(
            f"Node {socket.gethostname()} does not know the password of the database. It is not sent there, since "
            "Ray's dashboard shows what is sent.",
            remedy=f"Set {POSTGRES_VARIABLE} in the environment of the node's `ray start`, or write the password into "
            "~/.pgpass there.",
        )


def _places_of_a_password() -> Iterable[bool]:
    yield "PGPASSWORD" in os.environ
    yield Path(os.environ.get("PGPASSFILE", Path.home() / ".pgpass")).is_file()


if __name__ == "__main__":
    main(sys.argv[1:])
