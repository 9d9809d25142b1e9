"""What a job starts on its node: it compares versions with those of the control host, then becomes Dagster's command.

::

    python -m sort_assets.platform.engines.slurm.on_node --version=dagster=1.13.27 -- api execute_run …
"""

import argparse
import importlib.metadata
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Sequence

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE, POSTGRES_VARIABLE

NO_ENVIRONMENT = 95
"""Exit status where Dagster can't be imported."""
OTHER_VERSION = 96
"""Exit status where packages have other versions than on the control host."""
NO_DATABASE = 97
"""Exit status where the database of the Dagster instance is not named."""


def main(words: Sequence[str]) -> None:
    """Check this node, then execute a command of Dagster in this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="append", default=[])
    parser.add_argument("--needs-database", action="store_true")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args(words)
    try:
        import dagster  # noqa: F401 - the command needs it in any case: a process that tries it first would take a second
    except ImportError:
        traceback.print_exc()
        sys.exit(NO_ENVIRONMENT)
    wanted = dict(pair.split("=", 1) for pair in asked.version)
    here = {package: importlib.metadata.version(package) for package in wanted}
    if here != wanted:
        print(
            f"Node {socket.gethostname()} has {_listed(here)} in {sys.prefix}; the control host has {_listed(wanted)}."
        )
        sys.exit(OTHER_VERSION)
    reaches_home = DAGSTER_HOME_VARIABLE in os.environ and not asked.needs_database
    if not reaches_home and not os.environ.get(POSTGRES_VARIABLE):
        print(f"{POSTGRES_VARIABLE} is not set on node {socket.gethostname()}.")
        sys.exit(NO_DATABASE)
    sys.argv = ["dagster", *asked.command]
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


def _listed(versions: dict[str, str]) -> str:
    return " and ".join(f"{package} {version}" for package, version in versions.items())


if __name__ == "__main__":
    main(sys.argv[1:])
