"""Messages to Slack, e-mail, Teams or any webhook, through Apprise; off until destinations are set.

`SORT_ASSETS_NOTIFY` holds one or more Apprise URLs, separated by white space, for example::

    slack://TokenA/TokenB/TokenC/#sorting
    mailtos://user:password@mail.lab.org?to=lab@lab.org
    jsons://hooks.lab.org/sorting

A URL holds a password. It stays in that variable: nothing here logs, stores or raises any part of a URL but the kind of
service, the word before the colon.
"""

import functools
import logging
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sort_assets.checks.result import CheckResult, failed, ok
from sort_assets.config.settings import NOTIFY_VARIABLE, read_environment
from sort_assets.errors import ConfigError

if TYPE_CHECKING:
    from apprise import AppriseResult, NotifyBase

SEND_TIMEOUT_S = 15.0
"""For one message to one destination. A sensor's tick may take 60 s, and destinations are told at the same time.
Apprise waits 4 s for a connection and 4 s for an answer unless a URL says otherwise (`?cto=…&rto=…`)."""

_KIND = re.compile(r"([a-z][a-z0-9]{1,30})://", re.IGNORECASE)
_HTTP_STATUS = re.compile(r"error=(\d{3})\b")
_LEFT_OUT = "[left out, as it may quote a secret]"
_LOGS_URLS_WHEN_DEBUGGING = ("urllib3", "requests_oauthlib", "oauthlib")


@dataclass(frozen=True)
class Message:
    """What is sent.

    Attributes
    ----------
    title : str
        One line: the subject of an e-mail.
    text : str
        Plain text.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Destination:
    """One of the URLs of `SORT_ASSETS_NOTIFY`.

    Attributes
    ----------
    number : int
        Which one, from 1.
    url : str
        Secret.
    """

    number: int
    url: str = field(repr=False)

    def __str__(self) -> str:
        found = _KIND.match(self.url)
        return f"URL {self.number} of {NOTIFY_VARIABLE} ({found[1].lower() if found else 'of no kind'}://…)"


@dataclass(frozen=True)
class Undelivered:
    """A destination that a message did not reach, and why.

    Attributes
    ----------
    destination : Destination
    reason : str
    """

    destination: Destination
    reason: str

    def __str__(self) -> str:
        return f"{self.destination}: {self.reason}"


def destinations() -> list[Destination]:
    """The destinations of messages; empty when none are set."""
    urls = read_environment().notify.get_secret_value().split()
    return [Destination(number, url) for number, url in enumerate(urls, start=1)]


def inspect_notifications() -> CheckResult:
    """Check the destinations for `sort-assets doctor`; nothing is sent."""
    try:
        check_destinations()
    except ConfigError as error:
        return failed("notifications", error)
    to = destinations()
    if not to:
        return ok("notifications", f"off: {NOTIFY_VARIABLE} is not set")
    return ok("notifications", ", ".join(map(str, to)))


def check_destinations() -> None:
    """Check whether Apprise understands every URL; nothing is sent.

    Raises
    ------
    ConfigError
        When it does not understand one, which the message does not quote.
    """
    unusable = [str(destination) for destination in destinations() if _service(destination) is None]
    if unusable:
        raise ConfigError(
            f"Apprise can't use {', '.join(unusable)}.",
            remedy="Write it as https://appriseit.com/services shows; in a password, write @ as %40, / as %2F and "
            "spaces as %20.",
        )


def send(
    message: Message, to: Sequence[Destination] | None = None, *, timeout_s: float = SEND_TIMEOUT_S
) -> list[Undelivered]:
    """Send a message to every destination.

    Parameters
    ----------
    message : Message
    to : sequence of Destination or None
        None is all of them.
    timeout_s : float
        Time to wait for each; all are sent to at the same time.

    Returns
    -------
    list of Undelivered
        Those that it did not reach. After a time-out it may arrive nevertheless.
    """
    to = destinations() if to is None else to
    if not to:
        return []
    with ThreadPoolExecutor(len(to)) as pool:
        reasons = list(pool.map(lambda destination: _send_one(message, destination, timeout_s), to))
    return [Undelivered(where, reason) for where, reason in zip(to, reasons, strict=True) if reason]


def format_undelivered(undelivered: Iterable[Undelivered]) -> str:
    """The destinations that a message did not reach, and why, as a phrase."""
    return "; ".join(map(str, undelivered))


def run_link(run_id: str) -> str:
    """The page of a run, below `SORT_ASSETS_UI_URL`."""
    return f"{read_environment().ui_url.rstrip('/')}/runs/{run_id}"


def _send_one(message: Message, destination: Destination, timeout_s: float) -> str:
    """Send to one destination; returns why it was not delivered, or nothing when it was."""
    from apprise import Apprise, AppriseResultStatus, NotifyFormat

    service = _service(destination)
    if service is None:
        return "Apprise can't use it"
    sender = Apprise()
    sender.add(service)
    try:
        result = sender.notify(body=message.text, title=message.title, body_format=NotifyFormat.TEXT, timeout=timeout_s)
    except Exception as error:  # any message of it may quote the URL
        return type(error).__name__
    if result:
        return ""
    if result.status == AppriseResultStatus.TIMEOUT:
        return f"no answer within {timeout_s:g} s"
    return _reason(result)


def _service(destination: Destination) -> "NotifyBase | None":
    """Apprise's service for a URL; None when Apprise does not understand it."""
    from apprise import Apprise, AppriseAsset, OverflowMode

    _redact_logs()
    # Without this, messages would show Apprise's logo, which their readers would fetch from GitHub.
    asset = AppriseAsset(app_id="sort_assets", app_desc="sort_assets", app_url="", image_url_mask="")
    try:
        service = Apprise.instantiate(destination.url, asset=asset)
    except Exception:  # any message of it may quote the URL
        return None
    if service is not None and "overflow=" not in destination.url:
        service.overflow_mode = (
            OverflowMode.SPLIT
        )  # by default Apprise sends too long messages whole, and services refuse them
    return service


def _reason(result: "AppriseResult") -> str:
    said = [entry.message for entry in result.logs()]
    return next((words for words in said if words != _LEFT_OUT), "it was not accepted")


class _RedactingFilter(logging.Filter):
    """Replaces Apprise's messages, which may quote a URL or a server's answer, by plain ones."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        status = _HTTP_STATUS.search(said)
        if status:
            words = f"the server answered with status {status[1]}"
        else:
            words = "no connection" if "onnection error" in said else _LEFT_OUT
        record.msg, record.args, record.exc_info = words, (), None
        return True


@functools.cache  # once for the process
def _redact_logs() -> None:
    """Keep URLs out of all logs, at any level."""
    logging.getLogger("apprise").addFilter(_RedactingFilter())
    for name in _LOGS_URLS_WHEN_DEBUGGING:
        logging.getLogger(name).setLevel(logging.WARNING)
