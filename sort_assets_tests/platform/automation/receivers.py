"""Servers of this machine that receive messages, and some that do not."""

import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from sort_assets_tests.fixtures.ports import free_port

PASSWORD = "hunter2secret"


@dataclass
class Webhook:
    """A web server that takes JSON.

    Attributes
    ----------
    status : int
        What it answers; it may be changed.
    received : list of dict
        The messages, each with `title` and `message`.
    url : str
        Apprise's, with a password.
    """

    status: int = 200
    received: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.received]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve one until the end of the block."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hook.status == 200:
                hook.received.append(json.loads(body))
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hook.url = f"json://lab:{PASSWORD}@127.0.0.1:{server.server_port}/sorting/"
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server(*, accepts: bool = True) -> Iterator[tuple[str, list[EmailMessage]]]:
    """A mail server that asks for a password; yields Apprise's URL, and the mails that it has taken."""
    mails: list[EmailMessage] = []

    class Handler:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            assert isinstance(envelope.content, bytes)
            mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
            return "250 OK"

    def authenticate(*_: object) -> AuthResult:
        return AuthResult(success=accepts, handled=False)

    port = free_port()
    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=port,
        authenticator=authenticate,
        auth_require_tls=False,
        auth_required=True,
    )
    controller.start()
    try:
        yield f"mailto://lab:{PASSWORD}@127.0.0.1:{port}?to=you@lab.org&from=rig@lab.org", mails
    finally:
        controller.stop()


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers; yields Apprise's URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"json://lab:{PASSWORD}@127.0.0.1:{server.getsockname()[1]}/sorting/"
