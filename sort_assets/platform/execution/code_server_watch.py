"""How often the webserver and the daemon look whether their code server is there, and has loaded other code.

Dagster (1.13.27) asks every second, and the daemon fetches all that the code server knows once a minute besides; for
neither there is a setting. Together that is most of what `sort-assets up` does while nothing happens.
"""

import time

from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._daemon.controller import RELOAD_WORKSPACE_INTERVAL, DagsterDaemonController
from dagster._grpc import server_watcher

_LOOK_EVERY_S = 5.0


def look_less_often() -> None:
    """Change both in this process."""
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
