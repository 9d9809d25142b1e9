"""`sort-assets digest` shows what the morning digest would say, and tries out the settings for notifications."""

import json

import pytest

from sort_assets.config.settings import NOTIFY_VARIABLE
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.automation.receivers import webhook


def test_it_is_shown_and_sent_where_the_settings_say(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = home.invoke("digest")
    with webhook() as hook:
        monkeypatch.setenv(NOTIFY_VARIABLE, hook.url)
        sent = home.invoke("digest", "--send", "--json")

    assert (shown.status, shown.stdout.splitlines()[0]) == (0, "sort_assets: nothing happened")
    assert sent.status == 0, sent.output
    assert json.loads(sent.stdout)["title"] == "sort_assets: nothing happened"
    assert json.loads(sent.stdout)["undelivered"] == []
    (message,) = hook.received
    assert "nothing happened" in json.dumps(message)


def test_a_digest_that_can_not_be_sent_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = home.invoke("digest", "--send")
    monkeypatch.setenv(NOTIFY_VARIABLE, "json://127.0.0.1:9/secret")
    refused = home.invoke("digest", "--send", "--json")

    assert unset.status == 1
    assert f"{NOTIFY_VARIABLE} is not set" in unset.stderr
    assert refused.status == 1
    assert len(json.loads(refused.stdout)["undelivered"]) == 1
    assert "secret" not in refused.output
