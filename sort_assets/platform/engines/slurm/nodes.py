"""The nodes of a Slurm, and how a program is run on one of them while somebody waits for what it prints."""

import math
import re
import secrets
import shlex
import sys
from pathlib import Path

from sort_assets.config.settings import SLURM_PYTHON_VARIABLE, Environment, read_environment
from sort_assets.errors import EngineError, EngineUnavailableError
from sort_assets.platform.engines import node_report
from sort_assets.platform.engines.cluster import LIMIT_S, OWN_OF_EACH_HOST, WAIT_S, Node, NodeBusyError
from sort_assets.platform.engines.slurm.commands import SlurmCommands
from sort_assets.platform.engines.slurm.options import options_of_environment
from sort_assets.platform.engines.told_variables import told_to_nodes

_FORMAT = "%N|%T|%c|%m|%G|%E"
_TAKES_JOBS = {"idle", "mixed", "allocated", "completing", "planned"}
_GPUS = re.compile(r"gpu:(?:[^:(,]+:)?(\d+)")
_BUSY = re.compile(
    r"immediate|requested nodes are busy|unable to allocate resources.*(busy|unavailable)|revoked", re.IGNORECASE
)
_OTHERS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "mem", "mem-per-cpu", "mem-per-gpu", "exclusive")
_JOB_MINUTES = math.ceil(LIMIT_S / 60) + 1
_SCRIPT = """\
{exports}
[ -d "${{DAGSTER_HOME:-}}" ] || unset DAGSTER_HOME
setup={setup}
if [ -n "$setup" ]; then
    [ -r "$setup" ] || {{ echo "there is no setup script $setup"; exit 0; }}
    . "$setup" || {{ echo "the setup script $setup failed"; exit 0; }}
fi
cd /
python=${{{python_variable}:-{python}}}
timeout -k 5 {limit:g} "$python" - {request} 2>&1 <<'{mark}'
{program}
{mark}
exit 0
"""


class SlurmNodes:
    """The nodes on which jobs of sort_assets may run.

    Parameters
    ----------
    commands : SlurmCommands or None
        None reaches Slurm as the environment says.
    """

    variables_at = "in the setup script of jobs (SORT_ASSETS_SLURM_SETUP)"

    def __init__(self, commands: SlurmCommands | None = None) -> None:
        self._commands = commands or SlurmCommands(read_environment().slurm_prefix.split())

    def nodes(self) -> list[Node]:
        """Those of the partition that `SORT_ASSETS_SLURM_OPTIONS` names, or of the default one.

        Raises
        ------
        EngineError
            When Slurm does not answer, or has no such partition.
        """
        partition = options_of_environment().get("partition") or self._default_partition()
        chosen = [f"--partition={partition}"] if partition else []
        output = self._commands.call(["sinfo", "--Node", "--noheader", f"--format={_FORMAT}", *chosen])
        found = {}
        for line in output.splitlines():
            name, separator, rest = line.strip().partition("|")
            if separator and rest.count("|") >= 4:
                found[name] = _node(name, *rest.split("|", 4))
        if not found:
            where = f"partition {partition}" if partition else "any partition"
            raise EngineError(
                f"Slurm has no node in {where}.",
                remedy="Name a partition that `sinfo` shows: the option `partition` of SORT_ASSETS_SLURM_OPTIONS.",
            )
        return list(found.values())

    def ask(self, node: Node, request: str, *, gpu: bool) -> str:
        """Run `node_report` in a job on a node.

        Raises
        ------
        NodeBusyError
            When it does not start within some time.
        EngineError
            When Slurm refuses the job.
        """
        name = f"sort_assets-doctor-{secrets.token_hex(4)}"
        options = {key: value for key, value in options_of_environment().items() if key not in _OTHERS}
        options |= {
            "job-name": name, "nodelist": node.name, "nodes": "1", "ntasks": "1", "cpus-per-task": "1", "mem": "1G",
            "time": str(_JOB_MINUTES), "immediate": f"{WAIT_S:g}", "quiet": "", "chdir": "/",
        }  # fmt: skip
        if gpu:
            options["gres"] = "gpu:1"
        words = [f"--{key}={value}" if value else f"--{key}" for key, value in options.items()]
        try:
            return self._commands.call(
                ["srun", *words, "bash", "-s"], _script(request), timeout_s=WAIT_S + LIMIT_S + 20
            )
        except EngineUnavailableError:
            self._commands.call(["scancel", "--me", f"--name={name}"])
            raise
        except EngineError as error:
            if _BUSY.search(error.message):
                wanted = "1 GPU, 1 CPU" if gpu else "1 CPU"
                raise NodeBusyError(
                    f"Slurm gave it no {wanted} and 1 GB of memory within {WAIT_S:g} s.", remedy=error.remedy
                ) from error
            raise

    def _default_partition(self) -> str:
        """Slurm marks it with an asterisk."""
        names = self._commands.call(["sinfo", "--noheader", "--format=%P"]).split()
        return next((name.rstrip("*") for name in names if name.endswith("*")), "")


def _node(name: str, state: str, cpus: str, memory_mb: str, gres: str, reason: str) -> Node:
    takes_jobs = state.rstrip("*~#!%$@^-") in _TAKES_JOBS and "*" not in state  # an asterisk: it does not answer
    why = "" if reason in ("none", "") else f" ({reason})"
    return Node(
        name,
        cpus=int(cpus.rstrip("+") or 0),
        gpus=sum(map(int, _GPUS.findall(gres))),
        memory_bytes=int(memory_mb.rstrip("+") or 0) * 2**20,
        out="" if takes_jobs else f"Slurm says that it is {state}{why}",
    )


def _script(request: str) -> str:
    environment: Environment = read_environment()
    told = told_to_nodes(environment, without=OWN_OF_EACH_HOST)
    return _SCRIPT.format(
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in told.items()),
        setup=shlex.quote(str(environment.slurm_setup or "")),
        python_variable=SLURM_PYTHON_VARIABLE,
        python=shlex.quote(sys.executable),
        request=shlex.quote(request),
        limit=LIMIT_S,
        program=Path(node_report.__file__).read_text(encoding="utf-8"),
        mark=f"end-{secrets.token_hex(8)}",
    )
