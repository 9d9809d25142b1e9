"""`sort-assets up`: the code server, the webserver, the daemon and the figure server, started and ended together.

A server that dies is started again.
"""

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import dagster as dg

from sort_assets.config.settings import FIGURES_URL_VARIABLE, Roots
from sort_assets.errors import InstanceError
from sort_assets.platform.execution.code_server import answers, code_server_command, write_workspace
from sort_assets.platform.execution.dead_runs import fail_dead_runs
from sort_assets.platform.execution.figure_server import HOST, FigureServer, figure_port, port_is_free
from sort_assets.platform.execution.home import WORKSPACE, dagster_home, open_instance
from sort_assets.platform.execution.only_daemon import DaemonWatch, only_daemon
from sort_assets.platform.execution.server_output import FOLDER, ServerOutput
from sort_assets.platform.execution.supervised_server import SupervisedServer

_POLL_S = 0.5
_ANSWER_POLL_S = 0.1
_DEAD_RUNS_EVERY_S = 10.0
_CODE_SERVER_STARTS_S = 120.0
_WORKSPACE_WITH_CODE_SERVER = "workspace.of_up.yaml"
_CODE_SERVER = "code-server"
_DAEMON = "dagster-daemon"
_WEBSERVER = "dagster-webserver"


class _Stop(BaseException):
    """The servers are to end; derived from BaseException so that no `except Exception` catches it."""


def run_servers(
    roots: Roots,
    port: int,
    say: Callable[[str], None],
    *,
    follow: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    verbose: bool = False,
) -> int:
    """Serve until interrupted, or until one of the servers ends again and again soon after its start.

    Parameters
    ----------
    roots : Roots
    port : int
        Of the Dagster UI, on 127.0.0.1.
    say : callable
        Called with messages for the user.
    follow : callable
        Its context manager is entered while the servers run.
    verbose : bool
        Whether what Dagster's servers print is printed here, and not into files in the home.

    Returns
    -------
    int
        Exit status: 0 after an interrupt, 1 when a server kept ending by itself.

    Raises
    ------
    InstanceError
        When a daemon works on the instance already, or a port is taken.
    """
    with open_instance() as instance, _interrupts():
        try:
            with only_daemon(instance, dagster_home(), port, say) as watch:
                return _serve(instance, roots, port, watch, say, follow, verbose=verbose)
        except _Stop:
            return 0


def _serve(
    instance: dg.DagsterInstance,
    roots: Roots,
    port: int,
    watch: DaemonWatch,
    say: Callable[[str], None],
    follow: Callable[[], AbstractContextManager[object]],
    *,
    verbose: bool,
) -> int:
    figures = figure_port(roots.figures_url)
    for wanted, name, remedy in (
        (port, "the Dagster UI", "choose another with --port"),
        (figures, "the figures", f"set {FIGURES_URL_VARIABLE} to another port of http://{HOST}"),
    ):
        if not port_is_free(wanted):
            raise InstanceError(
                f"Port {wanted} for {name} is in use.",
                remedy=f"End the program that uses it, or {remedy}.",
            )
    with FigureServer(roots.store, figures), contextlib.ExitStack() as started:
        # A path below the home could be too long for a socket, or on a file system that has none.
        address = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="sort_assets-"))) / "code"
        try:
            servers = {}
            for name, command in _commands(port, address).items():
                output = None if verbose else ServerOutput(dagster_home() / FOLDER, name)
                servers[name] = _supervised(name, command, output, started)
                if name == _CODE_SERVER:
                    _wait_for_code_server(servers[name], address)
            say(f"Dagster UI: http://{HOST}:{port}   (Ctrl-C ends it)")
            if not verbose:
                say(f"Output of Dagster's servers: {dagster_home() / FOLDER}   (here with --verbose)")
            started.enter_context(follow())
            looked = time.monotonic()
            while True:
                if time.monotonic() - looked >= _DEAD_RUNS_EVERY_S:
                    _fail_dead_runs(instance, say)
                    _tell_of_other_daemons(watch, say)
                    looked = time.monotonic()
                for server in servers.values():
                    if (problem := server.check()) is None:
                        continue
                    say(problem if server.has_failed else f"{problem} It is started again; runs in progress go on.")
                    if lines := server.last_lines:
                        say("\n".join([f"The last lines of {server.name}:", *lines]))
                    if server.has_failed:
                        return 1
                    if server is servers[_DAEMON]:
                        watch.expect_another()
                time.sleep(_POLL_S)
        except _Stop:
            say("Stopping the servers; runs in progress are stopped too.")
            return 0


def _commands(port: int, address: Path) -> dict[str, list[str]]:
    """Module and arguments of each server, in the order of their start."""
    workspace = dagster_home() / WORKSPACE
    written = workspace.with_name(_WORKSPACE_WITH_CODE_SERVER)
    location = write_workspace(workspace, address, written)
    code_server = {} if location is None else {_CODE_SERVER: code_server_command(address, location)}
    named = str(workspace if location is None else written)
    return code_server | {
        _WEBSERVER: ["sort_assets.platform.execution.webserver", "-h", HOST, "-p", str(port), "-w", named],
        _DAEMON: ["sort_assets.platform.execution.daemon", "run", "-w", named],
    }


def _wait_for_code_server(server: SupervisedServer, address: Path) -> None:
    """Wait until the others would find the code; one that does not start is told of by whoever looks after them all."""
    deadline = time.monotonic() + _CODE_SERVER_STARTS_S
    while time.monotonic() < deadline and server.is_running and not answers(address):
        time.sleep(_ANSWER_POLL_S)


def _supervised(
    name: str, command: list[str], output: ServerOutput | None, started: contextlib.ExitStack
) -> SupervisedServer:
    server = SupervisedServer(name, command, needs_code_server=name != _DAEMON, output=output)
    started.callback(server.end)
    return server


def _fail_dead_runs(instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    try:
        failed = fail_dead_runs(instance)
    except Exception as error:  # whatever it is, the servers continue
        say(f"The search for runs whose worker has died failed, and is repeated ({type(error).__name__}: {error}).")
        return
    for run_id in failed:
        say(f"Run {run_id} is marked as failed: its worker has died.")


def _tell_of_other_daemons(watch: DaemonWatch, say: Callable[[str], None]) -> None:
    try:
        news = watch.check()
    except Exception as error:  # whatever it is, the servers continue
        news = f"The search for other daemons failed, and is repeated ({type(error).__name__}: {error})."
    if news:
        say(news)


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    def stop(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise _Stop

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
