"""Runs are launched through the code server of `sort-assets up`, also while it is being replaced."""

import time

import dagster as dg

# Without public names.
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext

WAITS_FOR_S = 120.0
"""The next code server has imported everything within half a minute, even on a busy machine."""
_TRIES_EVERY_S = 5.0
"""Long enough for a worker to have started the run whose code server died before it could answer."""
_SHUTTING_DOWN = "after telling it to shut down"
"""In the answer of a code server that is about to end (Dagster 1.13.27), for which there is no class."""


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Dagster's own, which waits while the code server can't take a run.

    Dagster's fails a run for good that is launched at a moment at which the code server was killed, or is about to end.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, or try again for two minutes while no code server takes it.

        Raises
        ------
        DagsterLaunchFailedError, DagsterUserCodeUnreachableError
            When none takes it in that time; Dagster then fails the run.
        """
        run, started = context.dagster_run, time.monotonic()
        while True:
            try:
                super().launch_run(context)
                return
            except (DagsterLaunchFailedError, DagsterUserCodeUnreachableError) as error:
                if isinstance(error, DagsterLaunchFailedError) and _SHUTTING_DOWN not in str(error):
                    raise
                if time.monotonic() - started > WAITS_FOR_S:
                    raise
            time.sleep(_TRIES_EVERY_S)
            now = self._instance.get_run_by_id(run.run_id)
            if now is None or now.status != dg.DagsterRunStatus.STARTING:
                return  # it was started all the same, or terminated meanwhile
