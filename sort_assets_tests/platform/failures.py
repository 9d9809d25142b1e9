"""What a failed run says."""

from dataclasses import dataclass

import dagster as dg

from sort_assets_tests.platform.home import Home


@dataclass(frozen=True)
class Failed:
    """The one failure of a run.

    Attributes
    ----------
    step : str
        The asset that failed.
    description : str
        What the UI shows.
    failure_class, remedy : str
        From the failure's metadata.
    """

    step: str
    description: str
    failure_class: str
    remedy: str


def failure_of(home: Home, run_id: str) -> Failed:
    """Read the failure from the event log, as the UI does; there must be exactly one, made by sort_assets."""
    with home.instance() as instance:
        run = instance.get_run_by_id(run_id)
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    (event,) = [record.dagster_event for record in records]
    assert event is not None
    assert event.step_key is not None
    failure = event.step_failure_data.user_failure_data
    assert failure is not None, f"not in words: {event.step_failure_data.error}"
    values = {name: str(value.value) for name, value in failure.metadata.items()}
    return Failed(event.step_key, str(failure.description), values["failure_class"], values["remedy"])


def last_failure(home: Home) -> Failed:
    """The failure of the newest run."""
    with home.instance() as instance:
        (run,) = instance.get_runs(limit=1)
    return failure_of(home, run.run_id)
