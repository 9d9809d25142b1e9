"""Every environment variable that sort_assets reads, and the folders and the address that they name.

A variable is a field of `Environment`; the page of environment variables in the documentation is made from its
fields. Nothing is read before it is asked for, since `.env` files and tests change the environment.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from sort_assets.errors import InstanceError

RECORDINGS_VARIABLE = "SORT_ASSETS_RECORDINGS"
STORE_VARIABLE = "SORT_ASSETS_STORE"
RULES_VARIABLE = "SORT_ASSETS_RULES"
DAGSTER_HOME_VARIABLE = "DAGSTER_HOME"
SCAN_INTERVAL_VARIABLE = "SORT_ASSETS_LOOK_EVERY_S"
KEEP_VARIABLE = "SORT_ASSETS_KEEP"
NOTIFY_VARIABLE = "SORT_ASSETS_NOTIFY"
DIGEST_CRON_VARIABLE = "SORT_ASSETS_DIGEST_CRON"
UI_URL_VARIABLE = "SORT_ASSETS_UI_URL"
FIGURES_URL_VARIABLE = "SORT_ASSETS_FIGURES_URL"
LEASES_VARIABLE = "SORT_ASSETS_LEASES"
ENGINE_VARIABLE = "SORT_ASSETS_ENGINE"
POSTGRES_VARIABLE = "SORT_ASSETS_POSTGRES_URL"
RAY_VARIABLE = "SORT_ASSETS_RAY_ADDRESS"
DATABASE_WAIT_VARIABLE = "SORT_ASSETS_DATABASE_WAIT_S"
GPUS_VARIABLE = "SORT_ASSETS_GPUS"
SORTS_PER_GPU_VARIABLE = "SORT_ASSETS_SORTS_PER_GPU"
KUBERNETES_VARIABLE = "SORT_ASSETS_KUBERNETES"
SLURM_JOBS_VARIABLE = "SORT_ASSETS_SLURM_JOBS"
SCRATCH_VARIABLE = "SORT_ASSETS_SCRATCH"
SLURM_OPTIONS_VARIABLE = "SORT_ASSETS_SLURM_OPTIONS"
SLURM_SETUP_VARIABLE = "SORT_ASSETS_SLURM_SETUP"
SLURM_PREFIX_VARIABLE = "SORT_ASSETS_SLURM_PREFIX"
SLURM_PYTHON_VARIABLE = "SORT_ASSETS_PYTHON"
CORES_VARIABLE = "SORT_ASSETS_CORES"
VARIANTS_VARIABLE = "SORT_ASSETS_VARIANTS"

Engine = Literal["local", "slurm", "ray", "kubernetes"]
SlurmJobs = Literal["runs", "runs_and_gpu_steps", "gpu_steps"]

DEFAULT_FIGURES_URL = "http://127.0.0.1:3838"
DEFAULT_DIGEST_CRON = "0 7 * * *"


class Environment(BaseModel):
    """What the environment says; a variable that is empty counts as not set.

    An environment variable is added here: as a field with its name, type, default and a description in one sentence.
    """

    # Messages must not quote a value, which may be a secret.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    recordings: Path | None = Field(
        None,
        validation_alias=RECORDINGS_VARIABLE,
        description="Absolute path of the folder with the recordings, which is only read.",
    )
    store: Path | None = Field(
        None, validation_alias=STORE_VARIABLE, description="Absolute path of the folder in which results are kept."
    )
    rules: Path | None = Field(
        None,
        validation_alias=RULES_VARIABLE,
        description="Absolute path of a rules file that takes the place of the one in the recordings folder.",
    )
    dagster_home: Path | None = Field(
        None,
        validation_alias=DAGSTER_HOME_VARIABLE,
        description="Absolute path of Dagster's folder, with its databases and the settings of the instance.",
    )
    variants: Path | None = Field(
        None,
        validation_alias=VARIANTS_VARIABLE,
        description="Absolute path of the folder that declares variants; by default `variants` in Dagster's folder. Of "
        "an engine with nodes of its own, a path that they share.",
    )
    scan_interval_s: int = Field(
        30,
        ge=1,
        validation_alias=SCAN_INTERVAL_VARIABLE,
        description="Seconds from one scan of the recordings folder to the next.",
    )
    keep: str = Field(
        "",
        validation_alias=KEEP_VARIABLE,
        description="How many versions of an asset are kept, where that differs from the default, such as "
        "`binary_dat=2,waveforms=all`.",
    )
    notify: SecretStr = Field(
        SecretStr(""),
        validation_alias=NOTIFY_VARIABLE,
        description="Apprise URLs to which failures and the digest are sent, separated by spaces; nothing is sent "
        "while it is not set. A secret: it is never printed or stored.",
    )
    digest_cron: str = Field(
        DEFAULT_DIGEST_CRON,
        validation_alias=DIGEST_CRON_VARIABLE,
        description="When the digest is sent, as a cron expression in the machine's time zone.",
    )
    ui_url: str = Field(
        "http://127.0.0.1:3000",
        validation_alias=UI_URL_VARIABLE,
        description="Address of the Dagster UI, for the links in messages.",
    )
    figures_url: str = Field(
        DEFAULT_FIGURES_URL,
        validation_alias=FIGURES_URL_VARIABLE,
        description="Address at which figures and reports are served, with the port.",
    )
    leases: Path | None = Field(
        None,
        validation_alias=LEASES_VARIABLE,
        description="Folder of the locks by which all sorts on the machine take turns on its devices; by default "
        "/run/lock/sort_assets, or /tmp/sort_assets-leases where not everybody may write to /run/lock.",
    )
    engine: Engine = Field(
        "local",
        validation_alias=ENGINE_VARIABLE,
        description="What executes runs and steps: the processes of this machine (`local`), `slurm`, `ray` or "
        "`kubernetes`.",
    )
    postgres_url: SecretStr | None = Field(
        None,
        validation_alias=POSTGRES_VARIABLE,
        description="Address of the PostgreSQL database of the Dagster instance, such as "
        "`postgresql://user:password@host/database`; without it, SQLite files in the home. A secret: it is never "
        "printed or stored.",
    )
    ray_address: str = Field(
        "http://127.0.0.1:8265",
        validation_alias=RAY_VARIABLE,
        description="Address of the dashboard of Ray's head, where the engine is `ray`.",
    )
    kubernetes: Path | None = Field(
        None,
        validation_alias=KUBERNETES_VARIABLE,
        description="Absolute path of the file that says how the pods of runs and steps are made, where the engine is "
        "`kubernetes`: the settings of dagster-k8s' `K8sRunLauncher`.",
    )
    database_wait_s: int = Field(
        900,
        ge=0,
        validation_alias=DATABASE_WAIT_VARIABLE,
        description="Seconds for which runs and the daemon wait for a PostgreSQL that can't be reached; commands wait "
        "for ten seconds.",
    )
    gpus: int | None = Field(
        None,
        ge=0,
        validation_alias=GPUS_VARIABLE,
        description="How many sorts run at a time on the GPUs of the engine; by default as many as this machine has "
        "GPUs and, where runs are jobs of Slurm, 16.",
    )
    sorts_per_gpu: int = Field(
        1,
        ge=1,
        validation_alias=SORTS_PER_GPU_VARIABLE,
        description="How many sorts share a GPU of this machine, where its memory allows, with the engine `local`.",
    )
    scratch: Path | None = Field(
        None,
        validation_alias=SCRATCH_VARIABLE,
        description="Absolute path of a folder on a fast local disk, to which the .dat of a sort is copied while it "
        "is sorted; by default it is read where it is.",
    )
    slurm_jobs: SlurmJobs = Field(
        "runs",
        validation_alias=SLURM_JOBS_VARIABLE,
        description="What becomes a job of Slurm: each run, with a GPU for all of its steps (`runs`); each run without "
        "one, and each step that needs a GPU as a job of its own (`runs_and_gpu_steps`); only these steps, while the "
        "others run on the control host (`gpu_steps`).",
    )
    cores: int | None = Field(
        None,
        ge=1,
        validation_alias=CORES_VARIABLE,
        description="How many cores of a host a step uses at most; an engine that starts steps on other hosts sets it "
        "for each. By default all that the process may use.",
    )
    slurm_options: str = Field(
        "",
        validation_alias=SLURM_OPTIONS_VARIABLE,
        description="Options of `sbatch` for every job, such as `--partition=gpu --account=neuro`.",
    )
    slurm_setup: Path | None = Field(
        None,
        validation_alias=SLURM_SETUP_VARIABLE,
        description="Path, on the nodes, of a file that the shell of every Slurm job sources first: it may load "
        "modules, and set variables such as SORT_ASSETS_STORE where a node has other paths, or SORT_ASSETS_PYTHON "
        "where its Python is elsewhere.",
    )
    slurm_python: Path | None = Field(
        None,
        validation_alias=SLURM_PYTHON_VARIABLE,
        description="Path, on the nodes, of the Python of Slurm jobs, where it is not at the place of the control "
        "host's.",
    )
    slurm_prefix: str = Field(
        "",
        validation_alias=SLURM_PREFIX_VARIABLE,
        description="Words before each of Slurm's commands, such as `ssh login`, where they are not on this host.",
    )

    @property
    def runs_are_slurm_jobs(self) -> bool:
        """Whether run workers start in jobs of Slurm."""
        return self.engine == "slurm" and self.slurm_jobs != "gpu_steps"


def read_environment() -> Environment:
    """What the environment says now.

    Raises
    ------
    InstanceError
        When a variable can't be understood; it names the variable, and not its value.
    """
    try:
        return Environment.model_validate({name: value for name, value in os.environ.items() if value})
    except ValidationError as error:
        problems = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors(include_input=False)]
        raise InstanceError(
            f"Environment variables have values that can't be used. {'; '.join(problems)}.",
            remedy="Correct them in the .env file or where they are set, or unset them.",
        ) from None


@dataclass(frozen=True)
class Roots:
    """Where recordings are read from, where results are kept, and where their figures are served.

    Attributes
    ----------
    recordings, store : Path
        Absolute.
    figures_url : str
        Without a slash at the end.
    rules : Path or None
        The rules file; None is that in `recordings`.
    """

    recordings: Path
    store: Path
    figures_url: str = DEFAULT_FIGURES_URL
    rules: Path | None = None

    @classmethod
    def from_environment(cls) -> "Roots":
        """Read the variables that name them.

        Raises
        ------
        InstanceError
            When a folder's variable is not set, or is not an absolute path.
        """
        environment = read_environment()
        return cls(
            recordings=absolute_folder(RECORDINGS_VARIABLE, environment.recordings),
            store=absolute_folder(STORE_VARIABLE, environment.store),
            figures_url=environment.figures_url.rstrip("/"),
            rules=None if environment.rules is None else absolute_folder(RULES_VARIABLE, environment.rules),
        )


def variants_folder() -> Path:
    """The folder that declares variants; it need not exist.

    Raises
    ------
    InstanceError
        When neither it nor Dagster's folder is named.
    """
    environment = read_environment()
    if environment.variants is not None:
        return absolute_folder(VARIANTS_VARIABLE, environment.variants)
    return absolute_folder(DAGSTER_HOME_VARIABLE, environment.dagster_home) / "variants"


def absolute_folder(variable: str, folder: Path | None) -> Path:
    """The folder that an environment variable names.

    Raises
    ------
    InstanceError
        When the variable is not set, or the path is not absolute.
    """
    if folder is not None and folder.is_absolute():
        return folder
    raise InstanceError(
        f"The environment variable {variable} is "
        f"{'not set' if folder is None else f'{str(folder)!r}, which is not absolute'}.",
        remedy="Run in the folder that `sort-assets init` or `make install` set up, whose .env file names it, or set "
        "it to an absolute path.",
    )
