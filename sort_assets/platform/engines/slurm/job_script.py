"""The batch script of a job: it makes sure that the node has what is needed, then starts the work and waits for it.

What Slurm itself prints goes nowhere, since its path would have to be the same on all hosts: the script writes into a
file below the store, by whatever name the node knows it. An exit status of its own says what a node lacks, so that this
is known even where nothing could be written.
"""

import importlib.metadata
import shlex
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from sort_assets.config.settings import (
    CORES_VARIABLE,
    SLURM_PYTHON_VARIABLE,
    STORE_VARIABLE,
    read_environment,
)
from sort_assets.platform.engines.slurm import on_node
from sort_assets.platform.engines.told_variables import told_to_nodes
from sort_assets.platform.store.layout import COMPUTE_LOGS

CANCEL_SIGNAL = "USR1"
"""Tells the batch script that a person cancels the run, so that the work ends by itself."""
LOG = "slurm_job.log"
"""Of the job of a run."""
_MARK = "slurm_job"
CHECKED_PACKAGES = ("sort-assets", "dagster")
"""Their versions must be those of the control host: results name them, and Dagster's own messages change."""


class NodeLack(IntEnum):
    """Exit statuses of the script where a node lacks something."""

    FIRST_START = 90
    """Slurm has started the job a second time, although it was asked not to."""
    SETUP = 91
    """The setup script is not there, or failed."""
    STORE = 92
    """The store is not there, or another folder is in its place."""
    LOG = 93
    """The store is there and can't be written to."""
    RECORDINGS = 94
    """The recordings are not there."""
    ENVIRONMENT = on_node.NO_ENVIRONMENT
    """There is no Python with sort_assets."""
    VERSION = on_node.OTHER_VERSION
    """The packages have other versions than on the control host."""
    DATABASE = on_node.NO_DATABASE
    """The database of the Dagster instance is not named."""


_SCRIPT = """\
#!/bin/bash
# Written by sort_assets: a job of run {run_id}.
[ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || exit {lack.FIRST_START}
{exports}
export {cores}="${{SLURM_CPUS_PER_TASK:-}}"
[ -d "${{DAGSTER_HOME:-}}" ] || unset DAGSTER_HOME
setup={setup}
if [ -n "$setup" ]; then
    [ -r "$setup" ] || exit {lack.SETUP}
    . "$setup" || exit {lack.SETUP}
fi
folder=${store}/{logs}/{run_id}
for second in 1 2 3 4 5; do [ -e "$folder/{mark}" ] || sleep 1; done
[ -e "$folder/{mark}" ] || exit {lack.STORE}
exec >> "$folder/{log}" 2>&1 || exit {lack.LOG}
echo "Slurm job $SLURM_JOB_ID on $SLURMD_NODENAME, $(date -u '+%Y-%m-%d %H:%M:%S') UTC"
[ -d "${{SORT_ASSETS_RECORDINGS:-/}}" ] || exit {lack.RECORDINGS}
python=${{{python_variable}:-{python}}}
"$python" -c 'import {module}' || exit {lack.ENVIRONMENT}
cd /
"$python" -m {module} {words} &
work=$!
# Slurm ends the job: the work must not say how the run ended, for Slurm knows why.
trap 'kill -KILL "$work" 2> /dev/null' TERM
trap 'kill -TERM "$work" 2> /dev/null' {cancel}
while wait "$work"; status=$?; kill -0 "$work" 2> /dev/null; do :; done
echo "Ended with status $status, $(date -u '+%Y-%m-%d %H:%M:%S') UTC"
exit "$status"
"""


def job_script(
    run_id: str, command: Sequence[str], *, variables: Mapping[str, str] | None = None, log_name: str = LOG
) -> str:
    """The script of a job that executes a command of Dagster.

    Parameters
    ----------
    run_id : str
    command : sequence of str
        Words after `python -m dagster`.
    variables : mapping of str to str or None
        Further environment variables of the job.
    log_name : str
        The file for what the job writes.
    """
    environment = read_environment()
    known = {**told_to_nodes(environment), **(variables or {})}
    versions = [f"--version={package}={importlib.metadata.version(package)}" for package in CHECKED_PACKAGES]
    database = ["--needs-database"] if environment.postgres_url is not None else []
    return _SCRIPT.format(
        run_id=run_id,
        lack=_Statuses(),
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in known.items()),
        setup=shlex.quote(str(environment.slurm_setup or "")),
        store=STORE_VARIABLE,
        logs=COMPUTE_LOGS,
        mark=_MARK,
        log=log_name,
        cores=CORES_VARIABLE,
        python_variable=SLURM_PYTHON_VARIABLE,
        python=shlex.quote(sys.executable),
        module=on_node.__name__,
        words=shlex.join([*versions, *database, "--", *command]),
        cancel=CANCEL_SIGNAL,
    )


def prepare_log(store: Path, run_id: str, name: str = LOG) -> Path:
    """Make the folder by which a node recognises the store; returns the file that the job's output goes to."""
    folder = store / COMPUTE_LOGS / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    return folder / name


class _Statuses:
    """The exit statuses as numbers, for the template."""

    def __getattr__(self, name: str) -> int:
        return int(NodeLack[name])
