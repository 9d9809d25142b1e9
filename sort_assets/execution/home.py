"""Setting up the folders and the Dagster instance, once, before several processes open it."""

import os
from pathlib import Path

import dagster as dg
from dotenv import find_dotenv, load_dotenv

from sort_assets.errors import InstanceError
from sort_assets.execution.devices import find_gpus
from sort_assets.execution.executor import GPU_POOL
from sort_assets.execution.instance import refuse_temporary_instance
from sort_assets.storage.roots import RECORDINGS_VARIABLE, STORE_VARIABLE, Roots

HOME_VARIABLE = "DAGSTER_HOME"
_SETTINGS = "dagster.yaml"


def load_environment() -> None:
    """Read the nearest `.env` of the working directory and its parents; variables that are set already win."""
    load_dotenv(find_dotenv(usecwd=True))


def write_environment(checkout: Path) -> Path:
    """Write the `.env` of a checkout, with all folders below its `data`, unless there is one.

    Returns
    -------
    Path
        The file.
    """
    env = checkout / ".env"
    if not env.exists():
        data = checkout / "data"
        lines = {
            HOME_VARIABLE: data / "dagster",
            RECORDINGS_VARIABLE: data / "recordings",
            STORE_VARIABLE: data / "store",
        }
        env.write_text("".join(f"{name}={path}\n" for name, path in lines.items()), encoding="utf-8")
    return env


def prepare_home(settings: Path | None = None) -> Roots:
    """Make the folders, link our `dagster.yaml` into `DAGSTER_HOME` if it has none, and create the databases.

    Six processes that open a fresh home at once fail on each other's migrations, so this comes first.

    Parameters
    ----------
    settings : Path or None
        The `dagster.yaml`; None takes that of the checkout that the working directory is in.

    Raises
    ------
    InstanceError
        When a variable is missing, or there is no `dagster.yaml`.
    """
    roots = Roots.from_environment()
    home = Path(os.environ.get(HOME_VARIABLE, ""))
    if not home.is_absolute():
        raise InstanceError(
            f"{HOME_VARIABLE} is not set to an absolute path.",
            remedy="Run in the checkout, whose .env file `make install` writes, or set it.",
        )
    for folder in (home, roots.recordings, roots.store):
        folder.mkdir(parents=True, exist_ok=True)
    if not (home / _SETTINGS).exists():
        source = settings or Path(find_dotenv(_SETTINGS, usecwd=True) or "missing")
        if not source.is_file():
            raise InstanceError(
                f"'{home}' has no {_SETTINGS}, and none was found from the working directory upwards.",
                remedy=f"Copy sort_assets' {_SETTINGS} there.",
            )
        (home / _SETTINGS).symlink_to(source.resolve())
    with open_instance() as instance:
        instance.get_runs(limit=1)
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, max(1, len(find_gpus())))
    return roots


def open_instance() -> dg.DagsterInstance:
    """The instance of `DAGSTER_HOME`.

    Raises
    ------
    InstanceError
        When it is not set, so that the instance would be temporary.
    """
    if not os.environ.get(HOME_VARIABLE):
        raise InstanceError(
            f"{HOME_VARIABLE} is not set.", remedy="Run in the checkout, whose .env file `make install` writes."
        )
    instance = dg.DagsterInstance.get()
    refuse_temporary_instance(instance)
    return instance
