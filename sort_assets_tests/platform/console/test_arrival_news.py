"""What is said of recordings that arrive, wait or are refused; each once, however often the folder is scanned."""

import time
from dataclasses import replace

from sort_assets.errors import UnreadableRecordingError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.console.arrival_news import ArrivalNews
from sort_assets.platform.console.news import format_news
from sort_assets_tests.fixtures.home import Home

ARRIVED = (
    "arrived, not complete yet: it is read when nothing in it has changed for 60 s and none of its files is a partial "
    "copy"
)


def waiting(path: str) -> CatalogEntry:
    return CatalogEntry(path, State.WAITING, since=time.time())


def registered(entry: CatalogEntry) -> CatalogEntry:
    return replace(entry, state=State.REGISTERED, checked_at=time.time())


def test_a_recording_arrives_waits_and_is_complete_and_another_is_refused(home: Home) -> None:
    (home.roots.recordings / "day.nwb").touch()
    catalog = home.catalog()
    catalog.put(registered(waiting("known.nwb")), waiting("long.nwb"))
    with home.instance() as instance:
        news = ArrivalNews(instance, home.roots)
        summary = news.summary()
        said = news.read()
        for _ in range(2):  # it grows
            catalog.put(waiting("day.nwb"))
            said += news.read()
        problem = UnreadableRecordingError("It is cut.", remedy="Copy it again.")
        damaged = CatalogEntry("damaged.nwb", State.PROBLEM, checked_at=time.time(), problem=problem)
        catalog.put(registered(waiting("day.nwb")), damaged, registered(waiting("known.nwb")))
        catalog.put_partitions(CatalogPartition("day.nwb", "day.nwb"))
        said += [*news.read(), *news.read()]

    assert summary == f"Recordings below {home.roots.recordings}: 1 registered, 1 not complete yet"
    assert [str(one) for one in said] == [
        f"day.nwb: {ARRIVED}",
        "damaged.nwb: not registered: UnreadableRecordingError: It is cut. Remedy: Copy it again.",
        "day.nwb: complete",
    ]


def test_one_line_tells_of_five_hundred_that_arrive_at_once(home: Home) -> None:
    with home.instance() as instance:
        news = ArrivalNews(instance, home.roots)
        home.catalog().put(*(waiting(f"{number:03}.nwb") for number in range(500)))
        began = time.thread_time()
        said = news.read()
        seconds = time.thread_time() - began

    assert list(format_news(said)) == [
        "500 recordings: arrived, not complete yet (000.nwb, 001.nwb, 002.nwb, 003.nwb, 004.nwb and 495 more). The "
        f"first: {ARRIVED}"
    ]
    assert seconds < 5, "rules are read for each"
