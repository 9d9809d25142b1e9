"""The code server of `sort-assets up`: the only one, for the webserver, the daemon and all runs.

It is Dagster's own (`dagster code-server start`), a process that keeps the address, and one behind it that has loaded
the code, which another one replaces when somebody reloads the code in the UI; runs in progress go on with theirs. Four
things differ: run workers are forked from a server that has imported everything (`fork_server`); when one has died, its
run says how; the process with the code starts like this one, so that both hold for it too; and the process with the
address ends when it is asked to, and leaves the other one to its runs, so that the next one can take the address.

Where the workspace names a module instead, the webserver starts a code server, and the daemon another one every minute.
"""

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sort_assets.platform.execution.dead_runs import report_death_of_worker
from sort_assets.platform.execution.fork_server import start_fork_server

MODULE = "sort_assets.definitions"
_SELF = "sort_assets.platform.execution.code_server"
_GENERATED = "# Written by `sort-assets up` at each start, from the workspace.yaml beside it.\n"
_ANSWERS_WITHIN_S = 1.0
_SIGNS_OF_LIFE_S = 5
_LOOK_EVERY_S = 5.0


def code_server_command(address: Path, location: str) -> list[str]:
    """Module and arguments that start it.

    Parameters
    ----------
    address : Path
        Of its socket.
    location : str
        Name of the code location.
    """
    serve = ["--socket", str(address), "--module-name", MODULE, "--location-name", location]
    return [_SELF, "code-server", "start", *serve, "--inject-env-vars-from-instance", "--log-level", "warning"]


def answers(address: Path) -> bool:
    """Whether a code server listens, which it does once it has tried to load the code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWERS_WITHIN_S)
        try:
            connection.connect(str(address))
        except OSError:
            return False
    return True


def write_workspace(workspace: Path, address: Path, written: Path) -> str | None:
    """Write a workspace that names the code server wherever another one names the module of sort_assets.

    Parameters
    ----------
    workspace : Path
        Ours, or a person's own.
    address : Path
        Of the code server's socket.
    written : Path
        The file to be written, in the same folder.

    Returns
    -------
    str or None
        The name of the code location; None, with nothing written, where the module is not named, or in another way than
        by its name alone.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    try:
        content = yaml.load(workspace.read_text(encoding="utf-8"))
        entries = [_module_of(entry) for entry in content["load_from"]]
    except (YAMLError, LookupError, TypeError, AttributeError):
        return None  # Dagster says what is wrong
    ours = [(number, name) for number, name in enumerate(entries) if name is not None]
    if len(ours) != 1:
        return None
    ((number, name),) = ours
    content["load_from"][number] = {"grpc_server": {"socket": str(address), "host": "localhost", "location_name": name}}
    with written.open("w", encoding="utf-8") as file:
        file.write(_GENERATED)
        yaml.dump(content, file)
    return name


def look_less_often() -> None:
    """Let this process, of the webserver or the daemon, look less often for its code server, and for new code in it.

    Dagster (1.13.27) asks every second, and the daemon fetches all that the code server knows once a minute besides;
    for neither there is a setting. Together that is most of what `sort-assets up` does while nothing happens.
    """
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
    from dagster._daemon.controller import RELOAD_WORKSPACE_INTERVAL, DagsterDaemonController
    from dagster._grpc import server_watcher

    server_watcher.WATCH_INTERVAL = _LOOK_EVERY_S  # type: ignore[assignment]
    fetch_if_old = DagsterDaemonController.check_workspace_freshness

    def fetch_what_nobody_watches(controller: DagsterDaemonController, fetched_at: float) -> float:
        now = time.time()
        if now - fetched_at <= RELOAD_WORKSPACE_INTERVAL:
            return fetched_at
        entries = controller._workspace_process_context.create_request_context().get_code_location_entries()
        if all(isinstance(entry.origin, GrpcServerCodeLocationOrigin) for entry in entries.values()):
            return now
        return fetch_if_old(controller, fetched_at)

    DagsterDaemonController.check_workspace_freshness = fetch_what_nobody_watches  # type: ignore[assignment,method-assign]


def _module_of(entry: Any) -> str | None:
    """The name of the code location of an entry that names our module, and nothing that only a managed server knows."""
    module = entry.get("python_module")
    if module == MODULE:
        return MODULE
    if (
        isinstance(module, dict)
        and module.get("module_name") == MODULE
        and set(module) <= {"module_name", "location_name"}
    ):
        return str(module.get("location_name", MODULE))
    return None


def _serve() -> None:
    """Be one of the two processes, whichever the arguments say."""
    from dagster import DagsterInstance
    from dagster._cli import main
    from dagster._core.remote_representation.grpc_server_registry import GrpcServerRegistry
    from dagster._grpc import client, proxy_server, server
    from grpc import _common  # type: ignore[import-untyped]

    class ServerOfForkedRuns(server.DagsterApiServer):
        """Its run workers are forked; Dagster's start as new processes, which has no setting (1.13.27)."""

        def __init__(self, *args: Any, **named: Any) -> None:
            context = start_fork_server()  # it imports while this process does
            super().__init__(*args, **named)
            self._mp_ctx = context  # type: ignore[assignment]

        def _check_for_orphaned_runs(self) -> None:
            """Say of each run whose worker has died how, and what follows, before Dagster only says that it failed."""
            with self._execution_lock:
                dead = {
                    run_id: (process.exitcode, ref)
                    for run_id, (process, ref) in self._executions.items()
                    if not process.is_alive()
                }
            for run_id, (exit_code, ref) in dead.items():
                with DagsterInstance.from_ref(ref) as instance:
                    if (run := instance.get_run_by_id(run_id)) is not None:
                        report_death_of_worker(instance, run, exit_code)
            super()._check_for_orphaned_runs()

    class ServersLeftToTheirRuns(GrpcServerRegistry):
        """What has loaded the code ends after its last run. Dagster waits for that, and meanwhile refuses all runs."""

        def wait_for_processes(self) -> None:
            pass

        def are_all_servers_shut_down(self) -> bool:
            return True

    def start_like_this(executable_path: str) -> Sequence[str]:
        return [executable_path, "-m", _SELF]

    # Otherwise the one says ten times a second that it waits for its end, and the other every second that it is needed,
    # half of what both do while nothing happens; half a minute may pass between two of the latter.
    _common.MAXIMUM_WAIT_TIMEOUT = client.CLIENT_HEARTBEAT_INTERVAL = _SIGNS_OF_LIFE_S
    proxy_server.GrpcServerRegistry = ServersLeftToTheirRuns  # type: ignore[attr-defined]
    server.DagsterApiServer = ServerOfForkedRuns  # type: ignore[misc]
    server.get_python_environment_entry_point = start_like_this  # type: ignore[attr-defined]
    main()


if __name__ == "__main__":
    _serve()
