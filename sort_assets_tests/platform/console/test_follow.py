"""What can't be read for a while is said once, and what happens in the meantime afterwards."""

import time

import pytest

from sort_assets.errors import StorageError
from sort_assets.platform.console import follow as module
from sort_assets.platform.console.arrival_news import ArrivalNews
from sort_assets.platform.console.follow import follow
from sort_assets.platform.console.news import News
from sort_assets_tests.fixtures.home import Home


def test_a_source_that_fails_for_a_while_is_told_once_and_when_it_works_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.05)
    monkeypatch.setattr(module, "_PAUSE_PER_CPU_S", 0.0)
    away = home.roots.recordings / "away"
    away.touch()

    def read(_: ArrivalNews) -> list[News]:
        if away.exists():
            raise StorageError("The disk is away.", remedy="Mount it.")
        return []

    monkeypatch.setattr(ArrivalNews, "read", read)
    said: list[str] = []
    with home.environment(), follow(home.roots, said.append):
        wait_for(said, 2)
        time.sleep(0.5)
        away.unlink()
        wait_for(said, 3)

    assert said == [
        f"Recordings below {home.roots.recordings}: 0 registered",
        "What arrives can't be read at this moment, and it is tried again and again: StorageError: The disk is away. "
        "Remedy: Mount it.",
        "What arrives can be read again.",
    ]


def wait_for(said: list[str], lines: int) -> None:
    deadline = time.monotonic() + 30
    while len(said) < lines:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
