"""What a job asks of Slurm: what its steps need, and what the environment and the run say besides."""

import math
import shlex
from collections.abc import Mapping, Sequence

import dagster as dg

from sort_assets.config.settings import SLURM_OPTIONS_VARIABLE, read_environment
from sort_assets.errors import ConfigError
from sort_assets.platform.execution.step_needs import StepNeeds

OPTION_TAG = "slurm/"
"""Beginning of the tags of a run that are options of its job: `slurm/partition`, say."""
EXCLUDED_NODES_TAG = "sort_assets/slurm_excluded_nodes"
"""Nodes on which an earlier attempt could not begin, separated by commas."""

_LONG = {"A": "account", "C": "constraint", "G": "gpus", "L": "licenses", "M": "clusters", "p": "partition", "q": "qos"}
_LONG |= {"t": "time", "w": "nodelist", "x": "exclude"}
_OURS = {
    "array", "chdir", "cluster-constraint", "clusters", "error", "export", "export-file", "get-user-env", "input",
    "job-name", "no-requeue", "nodes", "ntasks", "open-mode", "output", "parsable", "quiet", "requeue", "signal",
    "test-only", "wait", "wrap",
}  # fmt: skip
"""Options on which it depends that a job is found again, and does what it is there for."""
_INSTEAD_OF = {"mem": ("mem-per-cpu", "mem-per-gpu"), "gres": ("gpus", "gpus-per-node", "gpus-per-task")}
_BYTES_PER_MEBIBYTE = 2**20


def job_options(needs: StepNeeds, run: dg.DagsterRun, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """The options of `sbatch` for a job, later ones in place of earlier ones.

    They are what is needed; what `SORT_ASSETS_SLURM_OPTIONS` says; what the configuration of the recording says
    (`chosen`); and the tags of the run.

    Raises
    ------
    ConfigError
        When an option can't be understood, or is not one that may be set.
    """
    from_tags = {key.removeprefix(OPTION_TAG): value for key, value in run.tags.items() if key.startswith(OPTION_TAG)}
    asked = {
        **options_of_environment(),
        **_checked(dict(chosen or {}), "resources"),
        **_checked(from_tags, "the run's tags"),
    }
    options = {**_needed(needs), **asked}
    for ours, others in _INSTEAD_OF.items():
        if any(other in asked for other in others) and ours not in asked:
            options.pop(ours, None)
    excluded = [nodes for nodes in (asked.get("exclude"), run.tags.get(EXCLUDED_NODES_TAG)) if nodes]
    return {**options, "exclude": ",".join(excluded)} if excluded else options


def options_of_environment() -> dict[str, str]:
    """What `SORT_ASSETS_SLURM_OPTIONS` says, in the form of `sbatch`: `--partition=gpu -A neuro --exclusive`."""
    text = read_environment().slurm_options
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _wrong(text, str(error)) from None
    return _checked(_parsed(words, text), SLURM_OPTIONS_VARIABLE)


def _needed(needs: StepNeeds) -> dict[str, str]:
    return {
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(needs.cpus),
        "mem": f"{math.ceil(needs.memory_bytes / _BYTES_PER_MEBIBYTE)}M",
        **({"gres": f"gpu:{needs.gpus}"} if needs.gpus else {}),
        **({"time": str(math.ceil(needs.time_limit_h * 60))} if needs.time_limit_h is not None else {}),
    }


def _parsed(words: Sequence[str], text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            options[name] = value
            name = "" if has_value else name
        elif word.startswith("-") and word[1:2] in _LONG:
            name = _LONG[word[1]]
            options[name] = word[2:].removeprefix("=")
            name = "" if options[name] else name
        elif name and not word.startswith("-"):
            options[name], name = word, ""
        else:
            raise _wrong(text, f"'{word}' is neither a long option nor one of -{', -'.join(sorted(_LONG))}")
    return options


def _checked(options: Mapping[str, str], where: str) -> dict[str, str]:
    ours = sorted(_OURS & options.keys())
    if ours:
        raise ConfigError(
            f"The option {', '.join(ours)} of sbatch, in {where}, is set by sort_assets.",
            remedy="Leave it out there.",
        )
    return dict(options)


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"{SLURM_OPTIONS_VARIABLE} is '{text}': {why}.",
        remedy="Write it as for sbatch, such as `--partition=gpu --account=neuro`.",
    )
