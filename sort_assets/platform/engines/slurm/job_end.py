"""What the end of a job means for its run: which failure it is, what to do about it, and whether to try again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sort_assets.errors import (
    MEMORY_LIMIT_GB,
    EngineError,
    HostOutOfMemoryError,
    JobLostError,
    NodeSetupError,
    SortAssetsError,
    TimeLimitError,
)
from sort_assets.platform.engines.slurm.commands import SlurmJob
from sort_assets.platform.engines.slurm.job_script import NodeLack
from sort_assets.platform.pipeline.step_requests import RUN

_EXCERPT_LINES = 25
_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT",
}  # fmt: skip
"""The states in which a job is over; any other one, also of a later version of Slurm, may still change."""
ENDED_ON_NODE = frozenset({"COMPLETED", "FAILED", "OUT_OF_MEMORY"})
"""The states of which a node has said that the processes of the job are gone. One that was cancelled, or has run into
its time limit, is over for Slurm also where its node does not answer."""
_BEGUN = {"COMPLETING", "EXPEDITING", "RESIZING", "RUNNING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"}
_LOST = {
    "BOOT_FAIL": "its node could not be started",
    "LAUNCH_FAILED": "its node could not start it",
    "NODE_FAIL": "its node failed, or was cut off from Slurm",
    "PREEMPTED": "a job with a higher priority took its place",
    "RECONFIG_FAIL": "its node could not be configured",
    "REVOKED": "another cluster of the federation took it over",
}
_SIGKILL = 9
_LACKS: Mapping[int, tuple[str, str]] = {
    NodeLack.SETUP: (
        "the setup script is not there, can't be read, or failed",
        "Put the file that SORT_ASSETS_SLURM_SETUP names at the same path on every node, and try `. FILE` there.",
    ),
    NodeLack.STORE: (
        "the store is not mounted, or another folder is in its place",
        "Mount it there. Where it has another path on the node, set SORT_ASSETS_STORE in the setup script "
        "(SORT_ASSETS_SLURM_SETUP).",
    ),
    NodeLack.LOG: (
        "the store can't be written to",
        "Mount it for writing, and let the user of the job write to it.",
    ),
    NodeLack.RECORDINGS: (
        "the recordings are not mounted",
        "Mount them there. Where they have another path on the node, set SORT_ASSETS_RECORDINGS in the setup script "
        "(SORT_ASSETS_SLURM_SETUP).",
    ),
    NodeLack.ENVIRONMENT: (
        "there is no Python with sort_assets",
        "Install sort_assets there as on the control host. Where its Python has another path on the node, set "
        "SORT_ASSETS_PYTHON in the setup script (SORT_ASSETS_SLURM_SETUP).",
    ),
    NodeLack.VERSION: (
        "sort_assets or Dagster has another version than on the control host",
        "Install the same versions on every node.",
    ),
    NodeLack.DATABASE: (
        "the database of the Dagster instance is not named",
        "Set SORT_ASSETS_POSTGRES_URL on the control host and, when Slurm's commands go through "
        "SORT_ASSETS_SLURM_PREFIX, in the setup script: files in the home can't be reached from a node.",
    ),
}


@dataclass(frozen=True)
class JobEnd:
    """How a job ended whose run has not.

    Attributes
    ----------
    error : SortAssetsError or None
        The failure; None where somebody cancelled the job.
    message : str
        What happened, with the remedy.
    try_again : bool
        Whether the run may succeed when it is tried again.
    unfit_node : str
        A node on which it must not be tried again; empty where there is none.
    """

    error: SortAssetsError | None
    message: str
    try_again: bool = False
    unfit_node: str = ""

    @classmethod
    def by(cls, error: SortAssetsError, *, try_again: bool = False, unfit_node: str = "") -> "JobEnd":
        """By a failure."""
        return cls(error, f"{type(error).__name__}: {error}", try_again, unfit_node)


def is_over(job: SlurmJob) -> bool:
    """Whether a job has ended for good."""
    return job.state in _ENDED


def has_begun(job: SlurmJob) -> bool:
    """Whether a job's script has been started, and has not ended for good."""
    return job.state in _BEGUN


def end_of_job(
    job: SlurmJob,
    details: Mapping[str, str],
    *,
    log: str,
    made_progress: bool,
    forgotten: bool = False,
    step_key: str = "",
    asked_gb: float | None = None,
) -> JobEnd:
    """How a job ended.

    Parameters
    ----------
    job : SlurmJob
        As `squeue` shows it; when Slurm has forgotten it, with what is known of it.
    details : mapping of str to str
        What `scontrol` says of it, by field.
    log : str
        What the job wrote.
    made_progress : bool
        Whether a step of the run succeeded.
    forgotten : bool
        Whether Slurm remembers the job no more.
    step_key : str
        The step that the job executes, where it is not that of a run.
    asked_gb : float or None
        Memory that was asked for, in GB of 1e9 bytes, where that is known; counts when Slurm does not say it.
    """
    where = f"Slurm job {job.job}{f' on {job.node}' if job.node else ''}"
    excerpt = "\n".join(log.splitlines()[-_EXCERPT_LINES:])
    if job.state == "CANCELLED" and not forgotten:
        said = f" Slurm's reason is {job.reason}." if _says_something(job.reason) else ""
        return JobEnd(None, f"{where} was cancelled from outside (scancel).{said}")
    if forgotten:
        return JobEnd.by(_forgotten(where, excerpt), try_again=True)
    if job.state == "DEADLINE":
        return JobEnd.by(_past_deadline(where, excerpt))
    if job.state == "TIMEOUT":
        return JobEnd.by(_too_long(where, details, excerpt, step_key), try_again=made_progress)
    status, killed_by = _exit_code(details)
    if job.state == "OUT_OF_MEMORY" or (job.state == "FAILED" and killed_by == _SIGKILL):
        return JobEnd.by(
            _out_of_memory(where, job, _memory_gb(details) or asked_gb, excerpt, step_key or RUN), try_again=True
        )
    if job.state in _LOST or status == NodeLack.FIRST_START:
        reason = _LOST.get(job.state, "Slurm had ended it and started it again, which this job does not do")
        return JobEnd.by(_lost(where, reason, job, excerpt), try_again=True)
    if job.state == "FAILED" and status in _LACKS:
        return JobEnd.by(_unfit(where, *_LACKS[status], excerpt), try_again=True, unfit_node=job.node)
    signal = killed_by or max(0, status - 128)
    ended = f"its process was ended by signal {signal}" if signal else f"it ended with status {status}"
    return JobEnd.by(_lost(where, f"{ended}, and its run did not say how it ended", job, excerpt), try_again=True)


def _forgotten(where: str, excerpt: str) -> JobLostError:
    return JobLostError(
        f"{where}: Slurm does not know the job any more, and the run has not ended.",
        remedy="Look at the end of the job's log. Slurm forgets a job MinJobAge seconds after its end (slurm.conf), "
        "and all jobs when its controller lost its state.",
        log_excerpt=excerpt,
    )


def _too_long(where: str, details: Mapping[str, str], excerpt: str, step_key: str) -> TimeLimitError:
    limit = details.get("TimeLimit", "")
    then = (
        "launch the run again" if step_key else "re-execute the run from failure, which keeps the steps that succeeded"
    )
    return TimeLimitError(
        f"{where} was ended at its time limit{f' of {limit}' if limit else ''}.",
        remedy=f"Raise resources.{step_key or RUN}.time_limit_h for this recording, its rule or preset, or `--time` in "
        f"SORT_ASSETS_SLURM_OPTIONS, up to what the partition allows (`sinfo -o '%P %l'`); then {then}.",
        log_excerpt=excerpt,
        time_limit=limit,
    )


def _past_deadline(where: str, excerpt: str) -> EngineError:
    return EngineError(
        f"{where} was ended at its deadline, the option `deadline` of sbatch.",
        remedy="Name a later deadline, or none, where it stands: in SORT_ASSETS_SLURM_OPTIONS, in resources.slurm of "
        "the recording, its rule or preset, or in the run's tag slurm/deadline. Then launch the run again.",
        log_excerpt=excerpt,
    )


def _out_of_memory(where: str, job: SlurmJob, limit_gb: float | None, excerpt: str, scope: str) -> HostOutOfMemoryError:
    diagnostics: dict[str, Any] = {MEMORY_LIMIT_GB: limit_gb} if limit_gb else {}
    amount = f" of {limit_gb:.3g} GB" if limit_gb else ""
    happened = (
        f"{where} took more memory than its request{amount}"
        if job.state == "OUT_OF_MEMORY"
        else f"{where} was killed by signal 9, as Slurm and the kernel do with a job that takes more memory than its "
        f"request{amount}"
    )
    return HostOutOfMemoryError(
        f"{happened}.",
        remedy=f"The next attempt asks for twice as much. Where it needs still more, raise resources.{scope}.memory_gb "
        "for this recording, its rule or preset, or lower execution.n_jobs.",
        log_excerpt=excerpt,
        **diagnostics,
    )


def _lost(where: str, reason: str, job: SlurmJob, excerpt: str) -> JobLostError:
    said = f" Slurm's reason is {job.reason}." if _says_something(job.reason) else ""
    return JobLostError(
        f"{where} is lost ({job.state}): {reason}.{said}",
        remedy="Look at the job's log, and whether the node is up (`sinfo -R`). The run is tried again by itself, "
        "unless it was tried too often.",
        log_excerpt=excerpt,
    )


def _unfit(where: str, lack: str, remedy: str, excerpt: str) -> NodeSetupError:
    return NodeSetupError(f"{where} could not begin: {lack}.", remedy=remedy, log_excerpt=excerpt)


def _exit_code(details: Mapping[str, str]) -> tuple[int, int]:
    """Exit status of the script, and the signal that ended it."""
    match = re.fullmatch(r"(\d+):(\d+)", details.get("ExitCode", ""))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _memory_gb(details: Mapping[str, str]) -> float | None:
    """The job's memory on its node in GB of 1e9 bytes; None where Slurm does not count memory."""
    amounts = [re.search(r"\bmem=(\S+?)(?:,|$)", details.get(field, "")) for field in ("ReqTRES", "AllocTRES", "TRES")]
    # A node may give more than was asked for, and only that is the limit.
    known_gb = [_gb(amount[1]) for amount in amounts if amount] or [_gb(details.get("MinMemoryNode", ""))]
    cpus = re.match(r"\d+", details.get("NumCPUs", ""))
    return max(known_gb) or _gb(details.get("MinMemoryCPU", "")) * int(cpus[0] if cpus else 1) or None


def _gb(amount: str) -> float:
    """An amount of memory as Slurm writes it, "4G" or "1536M", in GB of 1e9 bytes; 0 for what is none."""
    match = re.fullmatch(r"([\d.]+)([KMGT]?)", amount)
    return float(match[1]) * float(1024 ** ("KMGT".index(match[2] or "M") + 1)) / 1e9 if match else 0.0


def _says_something(reason: str) -> bool:
    return reason not in ("", "None")
