"""Messages reach a real web server and a real mail server of this machine, and no secret gets anywhere else.

Slack and Discord can't be reached from here: for them, what would be posted is caught on its way out.
"""

import json
import logging
import os
import time
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from sort_assets.config.settings import NOTIFY_VARIABLE
from sort_assets.errors import ConfigError
from sort_assets.platform.automation.notifications import (
    Message,
    Undelivered,
    check_destinations,
    destinations,
    format_undelivered,
    run_link,
    send,
)
from sort_assets_tests.fixtures.ports import free_port
from sort_assets_tests.platform.automation.receivers import PASSWORD, mail_server, silent_server, webhook

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # on 127.0.0.1

MESSAGE = Message("sorting of mouse_1~day.nwb failed", "What happened: <b> is *full* & so on.\nRun: http://127.0.0.1/r")


def _send_to(monkeypatch: pytest.MonkeyPatch, *urls: str, timeout_s: float = 10.0) -> list[Undelivered]:
    monkeypatch.setenv(NOTIFY_VARIABLE, "\n".join(urls))
    return send(MESSAGE, timeout_s=timeout_s)


def test_nothing_is_sent_until_somebody_says_where_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTIFY_VARIABLE, raising=False)

    assert destinations() == []
    assert send(MESSAGE) == []


def test_a_webhook_and_a_mailbox_get_the_same_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook, mail_server() as (mailbox, mails):
        undelivered = _send_to(monkeypatch, hook.url, mailbox)

        assert undelivered == []
        (posted,) = hook.received
        assert (posted["title"], posted["message"]) == (MESSAGE.title, MESSAGE.text)
        (mail,) = mails
        assert mail["Subject"] == MESSAGE.title
        body = mail.get_body(("plain",))
        assert body is not None
        assert body.get_content().splitlines() == MESSAGE.text.splitlines()


def test_one_that_is_out_of_reach_keeps_no_other_from_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        undelivered = _send_to(monkeypatch, f"json://127.0.0.1:{free_port()}", hook.url, "slack://nonsense")

        assert hook.titles == [MESSAGE.title]
        assert format_undelivered(undelivered) == (
            "URL 1 of SORT_ASSETS_NOTIFY (json://…): no connection; "
            "URL 3 of SORT_ASSETS_NOTIFY (slack://…): Apprise can't use it"
        )


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_server() as silent, webhook() as hook:
        start = time.monotonic()

        undelivered = _send_to(monkeypatch, silent, hook.url, timeout_s=0.5)

        assert time.monotonic() - start < 3
        assert [one.reason for one in undelivered] == ["no answer within 0.5 s"]
        assert hook.titles == [MESSAGE.title]


@pytest.mark.parametrize("failure", ["refused", "forbidden", "no password", "silent", "nonsense"])
def test_no_secret_is_logged_printed_or_returned(
    failure: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with ExitStack() as stack:
        hook = stack.enter_context(webhook())
        hook.status = 403
        url = {
            "refused": lambda: f"json://lab:{PASSWORD}@127.0.0.1:{free_port()}/{PASSWORD}",
            "forbidden": lambda: hook.url,
            "no password": lambda: stack.enter_context(mail_server(accepts=False))[0],
            "silent": lambda: stack.enter_context(silent_server()),
            "nonsense": lambda: f"slack://{PASSWORD}",
        }[failure]()

        undelivered = _send_to(monkeypatch, url, timeout_s=0.5)

    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # the test's own server
    said = [format_undelivered(undelivered), repr(undelivered), repr(destinations()), *ours, *capfd.readouterr()]
    assert len(undelivered) == 1
    assert PASSWORD in os.environ[NOTIFY_VARIABLE]
    assert [text for text in said if PASSWORD in text or "127.0.0.1" in text] == []


def test_the_status_that_a_server_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        hook.status = 403

        (undelivered,) = _send_to(monkeypatch, hook.url)

    assert undelivered.reason == "the server answered with status 403"


@pytest.mark.parametrize("url", [f"slack://{PASSWORD}", f"nowhere://{PASSWORD}", PASSWORD, f"http://[{PASSWORD}"])
def test_a_url_that_can_not_be_used_is_an_error_that_does_not_quote_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTIFY_VARIABLE, f"json://lab:secret@127.0.0.1 {url}")

    with pytest.raises(ConfigError) as raised:
        check_destinations()

    assert "URL 2 of SORT_ASSETS_NOTIFY" in raised.value.message
    assert "URL 1" not in raised.value.message
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


def test_urls_that_can_be_used_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#sorting mailtos://lab:pw@mail.lab.org?to=you@lab.org"
    monkeypatch.setenv(NOTIFY_VARIABLE, f"{urls}\njsons://hooks.lab.org/sorting")

    check_destinations()

    assert [one.number for one in destinations()] == [1, 2, 3]


def test_slack_is_sent_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    posted = _catch_posts(monkeypatch)

    undelivered = _send_to(monkeypatch, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/")

    assert undelivered == []
    ((url, body),) = posted
    assert url.startswith("https://hooks.slack.com/services/")
    (attachment,) = body["attachments"]
    assert attachment["title"] == MESSAGE.title
    # Slack's own escapes: shown as they were written.
    assert attachment["text"] == "What happened: &lt;b&gt; is *full* &amp; so on.\nRun: http://127.0.0.1/r"
    assert body["mrkdwn"] is False
    assert "github" not in json.dumps(body)


def test_what_is_too_long_for_a_service_is_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    posted = _catch_posts(monkeypatch)
    monkeypatch.setenv(NOTIFY_VARIABLE, "discord://1234567890/abcdefghijkl")

    undelivered = send(Message("long", "\n".join(f"line {number}" for number in range(400))))

    assert undelivered == []
    contents = [body["content"] for _, body in posted]
    assert len(contents) > 1
    assert max(map(len, contents)) <= 2000
    assert "line 399" in contents[-1]


def test_links_lead_to_the_ui_that_people_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SORT_ASSETS_UI_URL", raising=False)
    assert run_link("abc") == "http://127.0.0.1:3000/runs/abc"

    monkeypatch.setenv("SORT_ASSETS_UI_URL", "https://rig.lab.org/dagster/")
    assert run_link("abc") == "https://rig.lab.org/dagster/runs/abc"


def _catch_posts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What is posted from now on, to nobody."""
    posted: list[tuple[str, dict[str, Any]]] = []

    def catch(_: requests.Session, request: requests.PreparedRequest, **__: object) -> requests.Response:
        assert request.url is not None
        assert request.body is not None
        posted.append((request.url, json.loads(request.body)))
        answer = requests.Response()
        answer.status_code, answer._content, answer.url, answer.request = 200, b"ok", request.url, request
        return answer

    monkeypatch.setattr(requests.Session, "send", catch)
    return posted
