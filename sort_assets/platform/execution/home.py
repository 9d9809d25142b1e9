"""The Dagster home: its folders, its settings files, and the instance in it."""

import os
from pathlib import Path

import dagster as dg
from dotenv import find_dotenv, load_dotenv

from sort_assets.config import ExecutionConfig
from sort_assets.config.settings import (
    DAGSTER_HOME_VARIABLE,
    RECORDINGS_VARIABLE,
    STORE_VARIABLE,
    Roots,
    absolute_folder,
    read_environment,
    variants_folder,
)
from sort_assets.errors import GpuDriverError, InstanceError
from sort_assets.machine.gpus import find_gpus
from sort_assets.platform.execution.database_wait import wait_shortly_for_database
from sort_assets.platform.execution.dead_runs import fail_dead_runs
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.execution.gpu_choice import large_enough
from sort_assets.platform.execution.gpu_sharing import sorts_per_gpu
from sort_assets.platform.execution.instance import SETTINGS, refuse_other_engine, refuse_temporary_instance

WORKSPACE = "workspace.yaml"
_VARIANTS_PROJECT = """\
# With this file, `dg scaffold defs sort_assets.SortingVariant NAME` works in this folder.
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "variants"
"""
_RECORDINGS_PER_GPU = 2
_GPUS_OF_SLURM = 16
"""For how many GPUs jobs are submitted while nobody says how many there are; Slurm hands out those that are free."""
_GENERATED = "# Written by `sort-assets up`"
_FIRST_LINE = f"{_GENERATED} for the GPUs and the engine; without this line, it is left as it is.\n"
_IN_SLURMS_QUEUE_S = 60 * 24 * 3600
"""Two months: how long a job waits is Slurm's affair, and waiting is no failure."""


def load_environment() -> None:
    """Read the nearest `.env` of the working directory and its parents.

    As in Dagster's own commands, it takes precedence over the environment, unless its lines refer to the environment.
    """
    load_dotenv(find_dotenv(usecwd=True), override=True)


def write_environment(folder: Path, data: Path, *, may_be_overridden: bool = True) -> Path:
    """Write a `.env` that names the three folders, unless there is one.

    Parameters
    ----------
    folder : Path
        Where the file goes; commands that run there, or below, read it.
    data : Path
        The folder above the three.
    may_be_overridden : bool
        Whether a variable that is set in the environment takes precedence over the file.

    Returns
    -------
    Path
        The file.
    """
    env = folder / ".env"
    if not env.exists():
        lines = {
            DAGSTER_HOME_VARIABLE: data / "dagster",
            RECORDINGS_VARIABLE: data / "recordings",
            STORE_VARIABLE: data / "store",
        }
        value = "${{{name}:-{path}}}" if may_be_overridden else "{path}"
        text = "".join(f"{name}={value.format(name=name, path=path)}\n" for name, path in lines.items())
        env.write_text(text, encoding="utf-8")
    return env


def prepare_home() -> Roots:
    """Make the folders, link our settings into `DAGSTER_HOME` where it has none, and create the databases.

    Six processes that open a fresh home at once fail on each other's migrations, so this comes first. Runs whose worker
    has died, with the machine for example, are reported as failed. A settings file that a person put into the home is
    left alone; a link follows the installed version.

    Raises
    ------
    InstanceError
        When a variable is missing, recordings and results are to lie within each other, or a person's settings in the
        home don't allow what the environment asks for.
    """
    roots = Roots.from_environment()
    _refuse_overlap(roots)
    home = dagster_home()
    for folder in (home, roots.recordings, roots.store):
        folder.mkdir(parents=True, exist_ok=True)
    for name in (SETTINGS, WORKSPACE):
        if (home / name).exists():
            continue
        (home / name).unlink(missing_ok=True)  # a link to a checkout or an environment that is gone
        (home / name).symlink_to(settings_file(name))
    _follow_engine(home / SETTINGS)
    prepare_variants_folder(variants_folder())
    with open_instance() as instance:
        refuse_other_engine(instance)
        instance.get_runs(limit=1)
        instance.get_dynamic_partitions("")  # any name: this opens the database of partitions
        instance.event_log_storage.get_pool_limits()
        fail_dead_runs(instance)
    return roots


def prepare_variants_folder(folder: Path) -> None:
    """Make the folder in which variants are declared a project of Dagster's `dg`, unless it is there."""
    if folder.exists():
        return
    module = folder / "variants" / "defs"
    module.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_VARIANTS_PROJECT, encoding="utf-8")
    for package in (module.parent, module):
        (package / "__init__.py").touch()


def settings_file(name: str) -> Path:
    """One of our Dagster settings files: beside this module in an installed wheel, else at the top of the checkout.

    Parameters
    ----------
    name : {"dagster.yaml", "workspace.yaml"}
    """
    installed = Path(__file__).with_name(name)
    return installed if installed.is_file() else Path(__file__).resolve().parents[3] / name


def _refuse_overlap(roots: Roots) -> None:
    # Results are folders that can be read as recordings: below the recordings root they would be sorted again.
    recordings, store = roots.recordings.resolve(), roots.store.resolve()
    if store.is_relative_to(recordings) or recordings.is_relative_to(store):
        raise InstanceError(
            f"{RECORDINGS_VARIABLE} ('{roots.recordings}') and {STORE_VARIABLE} ('{roots.store}') are the same folder, "
            "or one lies in the other.",
            remedy=f"Set {STORE_VARIABLE} to a folder beside the recordings, not in or above them.",
        )


def dagster_home() -> Path:
    """The folder that `DAGSTER_HOME` names.

    Raises
    ------
    InstanceError
        When it is not set, so that Dagster would make a temporary instance, or is not absolute.
    """
    return absolute_folder(DAGSTER_HOME_VARIABLE, read_environment().dagster_home)


def size_gpu_pool(instance: dg.DagsterInstance) -> int:
    """Give the pool `gpu` its slots; returns how many sorts are to run at a time.

    That is the number of GPUs that sorts use, times that of the sorts that share one, or 1 where no GPU is or works.

    On this machine a slot lets a sort get ready, and leases decide who has a device: for each sort the next one waits,
    and one more sort, which has left its device, is published. Elsewhere `SORT_ASSETS_GPUS` says how many
    there are, and a slot is a GPU; but where runs are jobs of Slurm, the pool has room for all of them, since a job
    that waits for a slot would keep its GPU idle.
    """
    environment = read_environment()
    of_engine = _GPUS_OF_SLURM if environment.runs_are_slurm_jobs else None
    asked = of_engine if environment.gpus is None else environment.gpus
    sorts = max(1, _usable_gpus() * sorts_per_gpu() if asked is None else asked)
    if environment.runs_are_slurm_jobs:
        slots = _RECORDINGS_PER_GPU * (sorts + 1)
    else:
        slots = 2 * sorts + 1 if environment.engine == "local" else sorts
    instance.event_log_storage.set_concurrency_slots(GPU_POOL, slots)
    return sorts


def _usable_gpus() -> int:
    try:
        return len(large_enough(find_gpus(), ExecutionConfig().min_gpu_memory_gb))
    except GpuDriverError:
        return 0


def allow_runs_for(sorts: int) -> None:
    """Let enough recordings be in progress to keep all GPUs busy: two for each GPU, and two more.

    About half of a recording's time goes to steps on the CPU. For one GPU that is what our settings say; for more, the
    home gets a copy of them with other numbers, which the next daemon reads. A person's settings are left alone.

    Parameters
    ----------
    sorts : int
        How many run at the same time, as `size_gpu_pool` returned it.
    """
    settings = dagster_home() / SETTINGS
    if _is_ours(settings):
        of_recordings, _ = _runs_allowed(settings_file(SETTINGS))
        _write_settings(settings, max(0, _RECORDINGS_PER_GPU * (sorts + 1) - of_recordings))


def _is_ours(settings: Path) -> bool:
    """Whether the settings in a home are a link to ours, or a copy that we wrote."""
    return settings.samefile(settings_file(SETTINGS)) or settings.read_text(encoding="utf-8").startswith(_GENERATED)


def _follow_engine(settings: Path) -> None:
    """Give a home what the engine needs, or what this version has; how many runs it allows stays."""
    from ruamel.yaml.error import YAMLError

    if _is_ours(settings) and (not settings.is_symlink() or read_environment().runs_are_slurm_jobs):
        _, usual = _runs_allowed(settings_file(SETTINGS))
        try:
            _, allowed = _runs_allowed(settings)
        except (LookupError, TypeError, ValueError, YAMLError):  # somebody changed the copy all the same, or it is cut
            allowed = usual
        _write_settings(settings, max(0, allowed - usual))


def _runs_allowed(settings: Path) -> tuple[int, int]:
    """How many runs settings of ours allow at a time: of recordings, and in all."""
    from ruamel.yaml import YAML

    runs = YAML(typ="safe").load(settings.read_text(encoding="utf-8"))["concurrency"]["runs"]
    return int(runs["tag_concurrency_limits"][0]["limit"]), int(runs["max_concurrent_runs"])


def _write_settings(settings: Path, more_runs: int) -> None:
    """Put a link to our settings into a home, or a copy where it has to differ."""
    from ruamel.yaml import YAML

    yaml, installed, environment = YAML(), settings_file(SETTINGS), read_environment()
    written = settings.with_name(f".{SETTINGS}.{os.getpid()}")
    if not more_runs and not environment.runs_are_slurm_jobs:
        written.symlink_to(installed)
    else:
        content = yaml.load(installed.read_text(encoding="utf-8"))
        runs = content["concurrency"]["runs"]
        runs["tag_concurrency_limits"][0]["limit"] += more_runs
        runs["max_concurrent_runs"] += more_runs
        if environment.runs_are_slurm_jobs:
            content["run_monitoring"]["start_timeout_seconds"] = _IN_SLURMS_QUEUE_S
        with written.open("w", encoding="utf-8") as file:
            file.write(_FIRST_LINE)
            yaml.dump(content, file)
    written.replace(settings)


def open_instance() -> dg.DagsterInstance:
    """The instance of `DAGSTER_HOME`.

    Raises
    ------
    InstanceError
        When the home is not set or does not exist, or Dagster can't use its settings.
    """
    home = dagster_home()
    if not home.is_dir():
        raise InstanceError(
            f"{DAGSTER_HOME_VARIABLE} is '{home}', which does not exist.", remedy="Run `sort-assets init`."
        )
    wait_shortly_for_database()
    try:
        instance = dg.DagsterInstance.get()
        _ = instance.run_coordinator  # Dagster loads it late; a class that is gone would only fail the first run
    except InstanceError:
        raise  # of our storage
    except Exception as error:  # Dagster's own classes for what may be wrong with the file have no public names
        raise InstanceError(
            f"Dagster can't open the instance of '{home}': {error}",
            remedy="Check that its database can be reached, and that the disk of the home is writable and not full."
            if isinstance(error, OSError) or type(error).__module__.startswith("sqlalchemy.")
            else f"Replace '{home / SETTINGS}' by sort_assets' {SETTINGS}, or correct it; it names no class of "
            "sort_assets any more.",
        ) from error
    refuse_temporary_instance(instance)
    return instance
