"""The executor of a single machine: every step in a process of its own, GPU steps in the `gpu` pool.

GPU steps take a slot of the pool, which holds across runs; inside, they lease a device. Other engines read what a step
needs from its tags (`step_needs`). The process that executes a run, its worker, holds a lock by which others detect its
death, and its steps die with it.
"""

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.platform.execution.dead_runs import fail_dead_runs, run_worker_lock
from sort_assets.platform.execution.fork_server import PRELOADED_MODULES, share_fork_server
from sort_assets.platform.execution.pool_polling import paused_pool_polling
from sort_assets.platform.execution.remote_steps import end_at_once, in_slurm_job

if TYPE_CHECKING:
    # The types in the signature of dg.Executor have no public names.
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode
    from dagster._core.execution.step_dependency_config import StepDependencyConfig

GPU_POOL = "gpu"

_GRACE_S = 10.0
_NICE = 5


class LockedRunExecutor(dg.Executor):
    """Executes a run with another executor while holding the lock of its worker.

    Parameters
    ----------
    inner : dg.Executor
        Executes the steps, each in a process of its own.
    """

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> "RetryMode":
        """Whether steps are retried."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        """Which upstream outputs a step waits for."""
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps, after the slots of runs whose worker has died are freed."""
        instance = plan_context.instance
        share_fork_server()
        with ExitStack() as held:
            held.enter_context(paused_pool_polling())
            if _is_watched_by_its_lock(instance):
                try:
                    fail_dead_runs(instance)
                except Exception:
                    plan_context.log.warning(
                        "Runs whose worker has died could not be looked for; slots that they hold stay taken.",
                        exc_info=True,
                    )
                held.enter_context(run_worker_lock(instance, plan_context.run_id))
            yield from self._inner.execute(plan_context, execution_plan)


def _is_watched_by_its_lock(instance: dg.DagsterInstance) -> bool:
    """Whether others see the death of this run worker by its lock, in the home.

    Not where Slurm is asked for the run's job, nor on a host that does not have the home.
    """
    return not in_slurm_job() and Path(instance.root_directory).is_dir()


def _create_locked_executor(init_context: dg.InitExecutorContext) -> LockedRunExecutor:
    create = dg.multiprocess_executor.executor_creation_fn
    assert create is not None
    return LockedRunExecutor(create(init_context))


local_executor = dg.ExecutorDefinition(
    name="local_processes",
    config_schema=dg.multiprocess_executor.config_schema.as_field(),
    requirements=dg.multiple_process_executor_requirements(),
    executor_creation_fn=_create_locked_executor,
    description="Executes each step in a process of its own, and holds a lock that reveals the death of the run.",
).configured({"start_method": {"forkserver": {"preload_modules": PRELOADED_MODULES}}})


@functools.cache  # one thread per process
def die_with_run_worker() -> None:
    """End the process of a step soon after its run worker has died, for whatever reason.

    Otherwise it would go on, publish a version, and record a materialization in a run that has failed. The step is
    interrupted as Dagster does it, so that it cleans up; if it does not end within ten seconds, it is killed.

    Does nothing in a process that no other Python process started by `multiprocessing`, as in `execute_in_process`.
    """
    # The run worker, though the forkserver has forked this process; PR_SET_PDEATHSIG would watch that server.
    worker = multiprocessing.parent_process()
    if worker is not None:
        end_after(worker.sentinel)


def end_after(sentinel: int) -> None:
    """End this process soon after a descriptor has become readable, as that of a pipe does whose writer has died."""
    threading.Thread(target=_end_after, args=(sentinel,), name="run-worker-watch", daemon=True).start()


def leave_the_processor_to_sorts() -> None:
    """Let the process of a step have the processor after those of sorts: what they do there, a GPU waits for.

    Where no sort runs, nothing is slower. Does nothing in a process that no other Python process started by
    `multiprocessing`, as in `execute_in_process`, whose priority could not be put back.
    """
    if multiprocessing.parent_process() is not None:
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), _NICE))


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)
    time.sleep(_GRACE_S)
    end_at_once()
