"""The web server of the store's figures and reports, and of nothing else, so that the Dagster UI can show them."""

import asyncio
import re
import socket
import threading
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from sort_assets.config.settings import FIGURES_URL_VARIABLE
from sort_assets.errors import InstanceError
from sort_assets.platform.store.layout import FIGURES

HOST = "127.0.0.1"
_TICK_S = 0.5
_SEGMENT = re.compile(r"[A-Za-z0-9_=~@-][A-Za-z0-9._=~@-]*")
_MEDIA_TYPES = {".png": "image/png", ".html": "text/html"}
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""The policy of a report in the browser: its own pictures and styles; no script, no form, nothing from elsewhere."""


def figure_app(store: Path) -> Starlette:
    """The web application: ``GET /<recording>/<asset>/<version>/figures/<name>``, a PNG or an HTML page, read-only."""

    def figure(request: Request) -> FileResponse:
        parts = [str(request.path_params[name]) for name in ("recording", "asset", "version", "name")]
        media_type = _MEDIA_TYPES.get(PurePosixPath(parts[-1]).suffix)
        if media_type is None or not all(_SEGMENT.fullmatch(part) for part in parts):
            raise HTTPException(404)
        recording, asset, version, name = parts
        path = store / recording / asset / version / FIGURES / name
        if not path.is_file() or not path.resolve().is_relative_to(store.resolve()):
            raise HTTPException(404)
        policy = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY} if media_type == "text/html" else {}
        return FileResponse(path, media_type=media_type, headers={**_HEADERS, **policy})

    return Starlette(routes=[Route(f"/{{recording}}/{{asset}}/{{version}}/{FIGURES}/{{name}}", figure)])


def figure_port(figures_url: str) -> int:
    """The port of `SORT_ASSETS_FIGURES_URL`.

    Raises
    ------
    InstanceError
        When the address has no port.
    """
    port = urlsplit(figures_url).port
    if port is None:
        raise InstanceError(
            f"{FIGURES_URL_VARIABLE} is '{figures_url}', which has no port.",
            remedy=f"Set it like http://{HOST}:3838, or unset it.",
        )
    return port


def port_is_free(port: int) -> bool:
    """Whether a server can listen on the port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class SlowTickingServer(uvicorn.Server):
    """Looks twice a second whether it is to end. Uvicorn (0.54) does so ten times, without a setting.

    Requests are served at once all the same.
    """

    async def main_loop(self) -> None:
        """Wait until it is to end."""
        while not await self.on_tick(0):  # with 0 it brings the date of its answers up to date
            await asyncio.sleep(_TICK_S)


class FigureServer:
    """The figure application in a thread of this process.

    Parameters
    ----------
    store : Path
        The store's root.
    port : int
        On 127.0.0.1.
    """

    def __init__(self, store: Path, port: int) -> None:
        config = uvicorn.Config(figure_app(store), host=HOST, port=port, log_level="warning")
        self._server = SlowTickingServer(config)
        self._thread = threading.Thread(target=self._server.run, name="figure-server", daemon=True)

    def __enter__(self) -> "FigureServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
