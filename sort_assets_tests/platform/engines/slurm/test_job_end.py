"""What Slurm prints about a job that is over, and what that means for its run or step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sort_assets.config import ExecutionConfig, ResolvedConfig, SortingPipelineConfig
from sort_assets.errors import (
    MEMORY_LIMIT_GB,
    EngineError,
    HostOutOfMemoryError,
    JobLostError,
    NodeSetupError,
    SortAssetsError,
    TimeLimitError,
)
from sort_assets.platform.engines.slurm.commands import SlurmCommands, SlurmJob
from sort_assets.platform.engines.slurm.job_end import JobEnd, end_of_job, is_over
from sort_assets.platform.pipeline.retries import decide_retry
from sort_assets.platform.pipeline.step_requests import needs_of_run, needs_of_step

TRES_22 = "TRES=cpu=2,mem=4G,node=1,billing=2"
TRES_25 = "ReqTRES=cpu=2,mem=4G,node=1,billing=2\n   AllocTRES=cpu=2,mem=4G,node=1,billing=2"
# As `scontrol show job` of Slurm 22.05 prints it; later versions print ReqTRES and AllocTRES in place of TRES.
SCONTROL = """\
JobId=12 JobName=sort_assets-run
   UserId=lab(1000) GroupId=lab(1000) MCS_label=N/A
   Priority=4294901758 Nice=0 Account=(null) QOS=(null)
   JobState={state} Reason={reason} Dependency=(null)
   Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 ExitCode={code}
   RunTime=00:02:13 TimeLimit=1-02:00:00 TimeMin=N/A
   Partition=gpu AllocNode:Sid=control:731
   ReqNodeList=(null) ExcNodeList=(null)
   NodeList=n1
   BatchHost=n1
   NumNodes=1 NumCPUs=2 NumTasks=1 CPUs/Task=2 ReqB:S:C:T=0:0:*:*
   {tres}
   Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
   {minimum} MinTmpDiskNode=0
   Features=(null) DelayBoot=00:00:00
   Command=(null)
   WorkDir=/
   StdErr=/dev/null
   StdIn=/dev/null
   StdOut=/dev/null
"""

Ended = Callable[..., JobEnd]


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """How a job ended of which squeue and scontrol print this."""

    def ask(
        state: str,
        code: str = "0:0",
        reason: str = "None",
        *,
        tres: str = TRES_22,
        minimum: str = "MinCPUsNode=2 MinMemoryNode=4G",
        **given: Any,
    ) -> JobEnd:
        base = state.split()[0]
        printed = {
            "squeue": f"12,{state},sort_assets-run,n1,{reason}\n",
            "scontrol": SCONTROL.format(state=base, reason=reason, code=code, tres=tres, minimum=minimum),
        }
        for command, text in printed.items():
            program = tmp_path / command
            program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        commands = SlurmCommands()
        (job,) = commands.jobs().values()
        assert is_over(job)
        return end_of_job(job, commands.details(job.job), **{"log": "last words\n", "made_progress": False, **given})

    return ask


@pytest.mark.parametrize(
    ("printed", "kind", "said", "remedy", "try_again"),
    [
        (("TIMEOUT", "0:15", "TimeLimit"), TimeLimitError, "its time limit of 1-02:00:00", "time_limit_h", False),
        (("DEADLINE", "0:0", "DeadLine"), EngineError, "at its deadline", "a later deadline", False),
        (("OUT_OF_MEMORY", "0:125", "OutOfMemory"), HostOutOfMemoryError, "request of 4.29 GB", "twice as much", True),
        (("FAILED", "0:9", "RaisedSignal:9(Killed)"), HostOutOfMemoryError, "killed by signal 9", "twice", True),
        (("PREEMPTED", "0:15"), JobLostError, "a job with a higher priority took its place", "sinfo -R", True),
        (("NODE_FAIL", "0:1", "NodeDown"), JobLostError, "its node failed, or was cut off", "sinfo -R", True),
        (("BOOT_FAIL", "0:0", "BootFailure"), JobLostError, "its node could not be started", "sinfo -R", True),
        (("LAUNCH_FAILED", "0:1"), JobLostError, "its node could not start it", "sinfo -R", True),
        (("RECONFIG_FAIL", "0:1"), JobLostError, "its node could not be configured", "sinfo -R", True),
        (("REVOKED",), JobLostError, "another cluster of the federation took it over", "sinfo -R", True),
        (("FAILED", "90:0", "NonZeroExitCode"), JobLostError, "Slurm had ended it and started it again", "log", True),
        (("FAILED", "137:0", "NonZeroExitCode"), JobLostError, "process was ended by signal 9", "log", True),
        (("FAILED", "0:11", "RaisedSignal:11(Segmentation_fault)"), JobLostError, "ended by signal 11", "log", True),
        (("FAILED", "1:0", "NonZeroExitCode"), JobLostError, "it ended with status 1", "log", True),
        (("COMPLETED", "0:0"), JobLostError, "did not say how it ended", "log", True),
        (("FAILED", "92:0", "NonZeroExitCode"), NodeSetupError, "the store is not mounted", "Mount it there", True),
    ],
    ids=lambda value: value[0] + value[1] if isinstance(value, tuple) and len(value) > 1 else None,
)
def test_each_end_has_its_class_its_remedy_and_whether_it_is_tried_again(
    ended: Ended, printed: tuple[str, ...], kind: type[SortAssetsError], said: str, remedy: str, try_again: bool
) -> None:
    end = ended(*printed)

    assert type(end.error) is kind
    assert "Slurm job 12 on n1" in end.error.message
    assert said in end.error.message
    assert remedy in end.error.remedy
    assert end.error.log_excerpt == "last words"
    assert end.try_again is try_again
    assert end.message.startswith(f"{kind.__name__}: ")


@pytest.mark.parametrize("state", ["CANCELLED", "CANCELLED by 1000"])
def test_a_cancelled_job_is_no_failure_and_not_tried_again(ended: Ended, state: str) -> None:
    end = ended(state, "0:15", "DependencyNeverSatisfied")

    assert end.error is None
    assert not end.try_again
    assert end.message == (
        "Slurm job 12 on n1 was cancelled from outside (scancel). Slurm's reason is DependencyNeverSatisfied."
    )


def test_a_job_that_slurm_has_forgotten_is_lost() -> None:
    end = end_of_job(SlurmJob("12", "", node="n1"), {}, log="", made_progress=False, forgotten=True)

    assert type(end.error) is JobLostError
    assert "does not know the job any more" in end.error.message
    assert end.try_again


def test_at_the_time_limit_a_run_is_tried_again_where_a_step_had_succeeded(ended: Ended) -> None:
    assert ended("TIMEOUT", "0:15", "TimeLimit", made_progress=True).try_again


def test_only_a_node_that_lacks_something_is_left_out_next_time(ended: Ended) -> None:
    assert ended("FAILED", "95:0", "NonZeroExitCode").unfit_node == "n1"
    assert ended("NODE_FAIL", "0:1", "NodeDown").unfit_node == ""


@pytest.mark.parametrize(
    "state",
    ["PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING",
     "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "POWER_UP_NODE", "EXPEDITING"],
)  # fmt: skip
def test_a_job_that_may_go_on_is_not_over(state: str) -> None:
    assert not is_over(SlurmJob("12", state))


@pytest.mark.parametrize(
    ("printed", "limit_gb"),
    [
        ({"tres": TRES_22}, 4.29),
        ({"tres": TRES_25}, 4.29),
        ({"tres": "ReqTRES=cpu=2,mem=1536M,node=1\n   AllocTRES=cpu=2,mem=6000M,node=1"}, 6.29),
        ({"tres": "TRES=cpu=2,mem=1.5T,node=1", "minimum": "MinCPUsNode=2 MinMemoryNode=1.5T"}, 1649.27),
        ({"tres": "TRES=cpu=2,node=1,billing=2"}, 4.29),
        ({"tres": "TRES=cpu=2,node=1,billing=2", "minimum": "MinCPUsNode=2 MinMemoryCPU=1500M"}, 3.15),
        ({"tres": "ReqTRES=cpu=2,node=1", "minimum": "MinCPUsNode=2 MinMemoryNode=0", "asked_gb": 5.0}, 5.0),
    ],
    ids=["Slurm 22", "Slurm 25", "given more than asked for", "TB", "not counted", "per core", "unknown"],
)
def test_after_memory_ran_out_the_next_request_is_higher_than_what_the_job_had(
    ended: Ended, printed: dict[str, Any], limit_gb: float
) -> None:
    error = ended("OUT_OF_MEMORY", "0:125", "OutOfMemory", **printed).error

    assert error is not None
    assert error.diagnostics[MEMORY_LIMIT_GB] == pytest.approx(limit_gb, abs=0.01)
    settings = ResolvedConfig(
        SortingPipelineConfig.model_validate({"resources": {"sorting": {"memory_gb": 2}, "run": {"memory_gb": 2}}}), {}
    )
    assert needs_of_step("sorting", settings, failures=[error]).memory_gb >= 2 * limit_gb - 0.01
    assert needs_of_run(["sorting"], settings, failures={"sorting": [error]}).memory_gb >= 2 * limit_gb - 0.01


@pytest.mark.parametrize(
    ("printed", "most"),
    [
        (("TIMEOUT", "0:15", "TimeLimit"), 1),
        (("DEADLINE", "0:0", "DeadLine"), 0),
        (("OUT_OF_MEMORY", "0:125", "OutOfMemory"), 3),
        (("PREEMPTED", "0:15"), 5),
        (("NODE_FAIL", "0:1", "NodeDown"), 5),
        (("FAILED", "92:0", "NonZeroExitCode"), 5),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_step_that_always_ends_so_is_tried_again_only_so_often(
    ended: Ended, printed: tuple[str, ...], most: int
) -> None:
    error = ended(*printed, step_key="sorting").error
    assert error is not None

    before: list[SortAssetsError] = []
    while decide_retry(error, before, ExecutionConfig(), reduced=False).retry and len(before) < 20:
        before.append(error)

    assert len(before) == most
