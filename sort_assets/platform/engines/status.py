"""Whether the engine that is chosen, and the database of the instance, answer: for `sort-assets doctor`."""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.config.settings import ENGINE_VARIABLE, POSTGRES_VARIABLE, read_environment
from sort_assets.errors import EngineError, InstanceError, SortAssetsError

if TYPE_CHECKING:
    from sort_assets.platform.engines.cluster import NodesOfEngine

_PACKAGES = {"ray": ("ray", "dagster_ray"), "kubernetes": ("kubernetes", "dagster_k8s")}


def inspect_engine() -> Iterator[CheckResult]:
    """The engine that `SORT_ASSETS_ENGINE` names, and whether it can be used from here."""
    try:
        environment = read_environment()
    except SortAssetsError as error:
        yield failed("engine", error)
        return
    engine = environment.engine
    missing = [name for name in _PACKAGES.get(engine, ()) if importlib.util.find_spec(name) is None]
    if missing:
        yield failed(
            "engine",
            InstanceError(
                f"{engine} ({ENGINE_VARIABLE}), whose packages are not installed: {', '.join(missing)}.",
                remedy=f"Run, on every host: pip install 'sort-assets[{engine}]'.",
            ),
        )
    elif engine == "local":
        yield ok("engine", "local: runs and steps are processes of this machine")
    elif engine == "kubernetes":
        yield ok("engine", "kubernetes: its packages are installed; the cluster is not asked")
    else:
        try:
            nodes = nodes_of(engine).nodes()
        except SortAssetsError as error:
            yield failed("engine", error)
        else:
            takes = [node.name for node in nodes if not node.out]
            gpus = sum(node.gpus for node in nodes if not node.out)
            found = f"{engine}: {len(takes)} of {len(nodes)} nodes take jobs, with {gpus} GPUs in all"
            if takes:
                yield ok("engine", found, "`sort-assets doctor --cluster` asks each of them.")
            else:
                reasons = "; ".join(f"{node.name}: {node.out}" for node in nodes)
                yield failed("engine", EngineError(f"{found}. {reasons}", remedy="Bring a node back."))
    if engine != "local" and environment.postgres_url is None:
        yield warning(
            "database",
            f"{POSTGRES_VARIABLE} is not set: the SQLite files of the home are not reachable from other hosts",
            f"Set {POSTGRES_VARIABLE} here and on the nodes.",
        )


def inspect_database() -> Iterator[CheckResult]:
    """Whether PostgreSQL answers, where the instance is kept there; nothing is said of SQLite."""
    try:
        secret = read_environment().postgres_url
    except SortAssetsError:
        return  # the engine's line says it
    if secret is None:
        return
    if any(importlib.util.find_spec(package) is None for package in ("dagster_postgres", "psycopg2")):
        yield failed(
            "database",
            InstanceError(
                f"{POSTGRES_VARIABLE} is set, and the packages for PostgreSQL are not installed.",
                remedy="Run: pip install 'sort-assets[postgres]'.",
            ),
        )
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url

    from sort_assets.platform.engines.postgres_connection import prepare_address

    try:
        address = prepare_address(secret)
        with create_engine(address).connect() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
    except SortAssetsError as error:
        yield failed("database", error)
        return
    url = make_url(address)
    yield ok("database", f"PostgreSQL {version} at {url.host}:{url.port or 5432}/{url.database} answers")


def nodes_of(engine: str) -> "NodesOfEngine":
    """What asks the nodes of an engine; of Kubernetes, and of this machine alone, there are none to ask."""
    if engine == "slurm":
        from sort_assets.platform.engines.slurm.nodes import SlurmNodes

        return SlurmNodes()
    if engine == "ray":
        from sort_assets.platform.engines.ray.nodes import RayNodes

        return RayNodes()
    from sort_assets.platform.engines.cluster import ThisMachine

    return ThisMachine()
