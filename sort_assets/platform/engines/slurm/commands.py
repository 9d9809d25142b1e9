"""Slurm's commands (sbatch, squeue, scancel, scontrol), each bounded in time, and what their messages mean.

What they print is asked for in formats that Slurm 22 to 25 have in common; no accounting database is needed. With a
prefix (`ssh login`, say) a command and its input travel as a script for a shell: nothing has to be quoted twice.
"""

import contextlib
import os
import re
import secrets
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sort_assets.errors import EngineError, EngineUnavailableError

_KILLED_S = 2.0
TIMEOUT_S = 30.0
"""Slurm's own commands give up after some ten seconds, unless the network swallows what they send."""
_JOBS_FORMAT = "%i,%T,%j,%N,%r"
_JOB = re.compile(r"(?P<job>\d+),(?P<state>[A-Z_]+)[^,]*,(?P<name>[^,]*),(?P<node>[^,]*),(?P<reason>.*)")
"""Of a cancelled job, some versions and tools say by whom: "CANCELLED by 1000"."""
_JOB_ID = re.compile(r"(\d+)(;.*)?")
_CHANGES_COMMANDS = (
    "SLURM_", "SLURMD_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SINFO_",
    "SBATCH_ARRAY_INX", "SBATCH_CLUSTERS", "SBATCH_EXPORT", "SBATCH_SIGNAL", "SBATCH_WAIT",
)  # fmt: skip
"""Beginnings of variables. Those of sbatch that name an account or a partition are people's defaults, and count."""
_AS_HERE = "export LC_ALL=C; unset ${!SQUEUE_@} SBATCH_EXPORT SBATCH_WAIT"
"""For the shell of a login host, whose profile may set variables too."""
_FIELD = re.compile(r"(?:^|\s)(\w+)=(\S*)")
_NOT_FOUND = 127
_SSH_FAILED = 255
"""Exit status of ssh when it did not get to the command; Slurm's own commands have none so high."""
_UNAVAILABLE = re.compile(
    r"unable to contact|connection refused|connect failure|timed out|timeout|not responding|zero bytes were transmit|"
    r"controller.{0,40}(standby|down)|communication connection failure|no route to host|connection (reset|closed)|"
    r"could not resolve host|temporarily|backup controller|unexpected message received|protocol authentication|"
    r"network is unreachable|transport endpoint is not connected|could not establish a config",
    re.IGNORECASE,
)
_TOO_MANY_JOBS = re.compile(r"MaxSubmitJob|MaxJobCount|resource temporarily unavailable", re.IGNORECASE)
"""Refusals that pass when other jobs have ended."""
_UNKNOWN_JOB = re.compile(r"invalid job id", re.IGNORECASE)
_REFUSALS = (
    (r"invalid partition", "Name a partition that `sinfo` shows: the option `partition` of {options}."),
    (
        r"invalid account|account/partition combination|invalid qos",
        "Name an account (and qos) that you may use in this partition: the options `account` and `qos` of {options}. "
        "`sacctmgr show associations user=$USER` lists them where Slurm keeps accounts; else ask who runs the cluster.",
    ),
    (
        r"time ?limit",
        "Ask for less time, or for another partition: the options `time` and `partition` of {options}; "
        "`sinfo -o '%P %l'` lists the limits.",
    ),
    (
        r"node configuration is not available|memory specification|feature|more processors|gres|cpu count|nodes? count",
        "No node of the partition has that much: lower what the step asks for, or name another partition in {options}; "
        "`sinfo -o '%P %c %m %G'` lists what the nodes have.",
    ),
    (
        r"limit|policy",
        "A limit of the cluster stops further jobs. Wait until some have ended, or let fewer recordings be in progress "
        "(tag_concurrency_limits in dagster.yaml).",
    ),
)


@dataclass(frozen=True)
class SlurmJob:
    """A job as `squeue` shows it.

    Attributes
    ----------
    job : str
        Its id.
    state : str
        In full and in capitals, as PENDING.
    name : str
    node : str
        Where it runs or ran; empty while it is pending.
    reason : str
        Why it is pending, or why it ended.
    """

    job: str
    state: str
    name: str = ""
    node: str = ""
    reason: str = ""


@dataclass(frozen=True)
class SlurmCommands:
    """How Slurm is reached from this host.

    Parameters
    ----------
    prefix : sequence of str
        Words before each command, such as `("ssh", "login")`.
    timeout_s : float
        How long a command may take.
    """

    prefix: Sequence[str] = ()
    timeout_s: float = TIMEOUT_S

    def submit(self, script: str, *, name: str, options: Mapping[str, str] | None = None) -> str:
        """Submit a batch script.

        Parameters
        ----------
        script : str
            With its first line (`#!/bin/bash`).
        name : str
            Of the job; unique, so that a job which Slurm took without an answer is found.
        options : mapping of str to str
            Long options of `sbatch` without their dashes; one with an empty value is a switch.

        Returns
        -------
        str
            The job's id.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer: it may have taken the job all the same (`find`).
        EngineError
            When Slurm refuses the job, or there is no Slurm.
        """
        flags = [f"--{key}={value}" if value else f"--{key}" for key, value in (options or {}).items()]
        output = self.call(["sbatch", "--parsable", f"--job-name={name}", *flags], script)
        # The shell of a login host may say more than what was asked for.
        found = [match for line in output.splitlines() if (match := _JOB_ID.fullmatch(line.strip()))]
        if not found:
            raise EngineError(
                f"sbatch printed no job id, but: {output.strip()[:500] or 'nothing'}",
                remedy="Run `sbatch --parsable` by hand as the same user: it must print the id of the job.",
            )
        return found[-1].group(1)

    def jobs(self, name: str = "") -> dict[str, SlurmJob]:
        """Jobs of this user that Slurm remembers, by their id: those in its queue, and those that ended lately.

        Parameters
        ----------
        name : str
            Only jobs with this name, where it is not empty.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer; nothing is known then about any job.
        EngineError
            When there is no Slurm.
        """
        named = [f"--name={name}"] if name else []
        # Without --all, jobs in partitions that are hidden would be missing, and be taken for forgotten.
        output = self.call(
            ["squeue", "--me", "--all", "--noheader", "--states=all", f"--format={_JOBS_FORMAT}", *named]
        )
        found = (_JOB.fullmatch(line.strip()) for line in output.splitlines())
        return {match["job"]: SlurmJob(**match.groupdict()) for match in found if match}

    def find(self, name: str) -> SlurmJob | None:
        """The newest job with a name, if Slurm remembers one."""
        jobs = self.jobs(name)
        return jobs[max(jobs, key=int)] if jobs else None

    def details(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says of a job, by field; empty when Slurm has forgotten the job.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        try:
            output = self.call(["scontrol", "show", "job", job])
        except EngineUnavailableError:
            raise
        except EngineError as error:
            if _UNKNOWN_JOB.search(error.message):
                return {}
            raise
        return dict(_FIELD.findall(output))

    def cancel(self, job: str, *, with_signal: str = "") -> None:
        """Cancel a job, or send a signal to its batch script alone; one that has ended is no error.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        signals = ["--batch", f"--signal={with_signal}"] if with_signal else []
        try:
            self.call(["scancel", *signals, job])
        except EngineUnavailableError:
            raise
        except EngineError as error:
            if not re.search(r"invalid job id|already complet", error.message, re.IGNORECASE):
                raise

    def call(self, words: Sequence[str], script: str = "", *, timeout_s: float | None = None) -> str:
        """What one of Slurm's commands prints.

        Parameters
        ----------
        words : sequence of str
        script : str
            Its input.
        timeout_s : float or None
            How long it may take, where that is not as long as usual.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        EngineError
            When the command fails, or is not there.
        """
        timeout_s = timeout_s or self.timeout_s
        command, given = [*self.prefix, "bash", "-l", "-s"] if self.prefix else list(words), script
        if self.prefix:
            mark = f"end-{secrets.token_hex(8)}"
            asked = f"{shlex.join(words)} <<'{mark}'\n{script}\n{mark}" if script else shlex.join(words)
            given = f"{_AS_HERE}\n{asked}\n"
        shown = shlex.join([*self.prefix, words[0]])
        try:
            status, output, errors = _run(command, given, timeout_s)
        except FileNotFoundError as missing:
            raise _not_installed(shown, bool(self.prefix)) from missing
        except subprocess.TimeoutExpired as timeout:
            raise EngineUnavailableError(
                f"`{shown}` did not answer within {timeout_s:g} s.",
                remedy="See whether `scontrol ping` shows the controller as UP, and whether the host reaches it. "
                "Nothing is lost meanwhile: runs stay as they are.",
            ) from timeout
        if status == 0:
            return output
        said = " ".join((errors or output).split()) or f"status {status}"
        if status == _NOT_FOUND:
            raise _not_installed(shown, bool(self.prefix), said)
        if self.prefix and status == _SSH_FAILED:
            raise EngineUnavailableError(
                f"`{shown}` failed: {said}",
                remedy=f"See whether `{shlex.join([*self.prefix, 'squeue', '--me'])}` works on this host, as the user "
                "of the daemon and without a password. Nothing is lost meanwhile: runs stay as they are.",
            )
        if _UNAVAILABLE.search(said):
            raise EngineUnavailableError(
                f"`{shown}` failed: {said}",
                remedy="See whether `scontrol ping` shows the controller as UP. Nothing is lost meanwhile: runs stay "
                "as they are.",
            )
        if _TOO_MANY_JOBS.search(said):
            raise EngineUnavailableError(
                f"`{shown}` takes no further job now: {said}",
                remedy="Wait until other jobs have ended, or let fewer recordings be in progress (SORT_ASSETS_GPUS).",
            )
        raise EngineError(f"`{shown}` failed: {said}", remedy=_remedy(said))


def _run(command: Sequence[str], given: str, timeout_s: float) -> tuple[int, str, str]:
    """Status, output and errors of a command, which is ended with all that it started when it takes too long."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=_environment(os.environ),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(given, timeout=timeout_s)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # What left the group, as the shared connection of an `ssh` may, would keep its output open for ever.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_KILLED_S)
        raise
    return process.returncode, output, errors


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Without what changes what Slurm's commands do or print, or says that this is a job itself."""
    kept = {
        name: value
        for name, value in variables.items()
        if not name.startswith(_CHANGES_COMMANDS) or name in ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
    }
    return {**kept, "LC_ALL": "C"}


def _not_installed(shown: str, with_prefix: bool, said: str = "") -> EngineError:
    where = "where the prefix leads" if with_prefix else "on this host"
    return EngineError(
        f"`{shown}` is not found {where}{f': {said}' if said else '.'}",
        remedy="Install Slurm's client commands on the control host and give it the cluster's slurm.conf and munge "
        "key, or set SORT_ASSETS_SLURM_PREFIX to words that lead to a host which has them, such as `ssh login`.",
    )


def _remedy(said: str) -> str:
    for pattern, remedy in _REFUSALS:
        if re.search(pattern, said, re.IGNORECASE):
            return remedy.format(options="SORT_ASSETS_SLURM_OPTIONS, or of the preset, rule or run")
    return "That is what Slurm said; the same command in a terminal says it too."
