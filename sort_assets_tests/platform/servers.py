"""`sort-assets up`, as a lab runs it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sort_assets_tests.platform.graphql import WebServer
from sort_assets_tests.platform.home import Home
from sort_assets_tests.ports import free_port, wait_for_port


@contextmanager
def up(
    home: Home, log: Path, *, python_path: Path | None = None
) -> Iterator[tuple[WebServer, "subprocess.Popen[bytes]"]]:
    """`sort-assets up`, its code location loaded."""
    port = free_port()
    servers = home.start("sort-assets", "up", "--port", str(port), output=log, python_path=python_path)
    try:
        wait_for_port(port)
        server = WebServer(port)
        server.wait_for_code()
        yield server, servers
    finally:
        servers.terminate()
        servers.wait(timeout=60)
