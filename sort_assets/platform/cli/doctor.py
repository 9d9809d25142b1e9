"""What is installed and set up, and what is wrong with it."""

import os
import shutil
from collections.abc import Iterator

from sort_assets.backends import registered_backends
from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.config.rules import RULES_FILE
from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError, StoreError
from sort_assets.machine.cores import usable_cores
from sort_assets.machine.versions import inspect_maxwell_plugin, inspect_versions
from sort_assets.platform.cli.doctor_gpus import examine_gpus
from sort_assets.platform.engines.status import inspect_database, inspect_engine
from sort_assets.platform.execution.home import dagster_home, open_instance
from sort_assets.platform.execution.instance import missing_settings
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.manifest import package_versions

_LITTLE_SPACE_BYTES = 50e9


def examine() -> list[CheckResult]:
    """Look at packages, sorters, GPUs, the engine, folders and the Dagster instance; nothing is changed."""
    cpu = ok("cpu", f"{usable_cores()} cores usable")
    engine = [*inspect_engine(), *inspect_database()]
    return [*_packages(), *_sorters(), cpu, *examine_gpus(), *engine, *_folders(), *_instance()]


def _packages() -> Iterator[CheckResult]:
    for package, version in package_versions().items():
        yield ok(package, version)
    yield from inspect_versions()
    yield from inspect_maxwell_plugin()


def _sorters() -> Iterator[CheckResult]:
    for name, entry in sorted(registered_backends().items()):
        missing = entry.missing_packages()
        if missing:
            detail = f"not installed: {', '.join(missing)} missing"
            yield warning(f"sorter {name}", detail, entry.install_hint)
        else:
            yield ok(f"sorter {name}", "installed")


def _folders() -> Iterator[CheckResult]:
    try:
        roots = Roots.from_environment()
    except SortAssetsError as error:
        yield failed("folders", error)
        return
    for name, folder in (("recordings", roots.recordings), ("store", roots.store)):
        if not folder.is_dir():
            yield warning(name, f"{folder} does not exist yet", "`sort-assets up` makes it.")
            continue
        free = shutil.disk_usage(folder).free
        detail = f"{folder}, {free / 1e9:.0f} GB free"
        if name == "store" and free < _LITTLE_SPACE_BYTES:
            yield warning(name, detail, "Free some space: every recording is written there once more.")
        elif not os.access(folder, os.R_OK if name == "recordings" else os.W_OK):
            what = "read" if name == "recordings" else "written to"
            remedy = f"Give the user that runs sort_assets the right to do so; if it is mounted, look how ({folder})."
            yield failed(name, StoreError(f"{folder} can't be {what}", remedy=remedy))
        else:
            yield ok(name, detail)
    yield from _rules(roots)


def _rules(roots: Roots) -> Iterator[CheckResult]:
    rules = RecordingRules(roots)
    if rules.problem is not None:
        yield failed(RULES_FILE, rules.problem)
    elif rules.file.exists():
        yield ok(RULES_FILE, "valid")


def _instance() -> Iterator[CheckResult]:
    try:
        home = dagster_home()
        with open_instance() as instance:
            number = len(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
            lacking = missing_settings(instance)
    except SortAssetsError as error:
        yield failed("instance", error)
        return
    yield ok("instance", f"{home}, {number} recordings registered")
    for lack in lacking:
        yield warning("instance", lack, "Use sort_assets' dagster.yaml.")
