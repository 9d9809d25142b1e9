"""What is said of runs, of which each event is read once."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from sort_assets.platform.console import run_news
from sort_assets.platform.console.news import format_news
from sort_assets.platform.console.run_news import RunNews
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.store.store import Store

REMEDY = "Free space on the disk."


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


def run(
    instance: dg.DagsterInstance, recording: str, act: Callable[[dg.OpExecutionContext], object] = lambda _: None
) -> None:
    """A run of a recording, whose step `sorting` does something."""

    @dg.op
    def sorting(context: dg.OpExecutionContext) -> None:
        act(context)

    @dg.job
    def sort_recording() -> None:
        sorting()

    sort_recording.execute_in_process(instance=instance, tags={PARTITION_TAG: recording}, raise_on_error=False)


def fail(context: dg.OpExecutionContext) -> None:
    failure = {"failure_class": "DiskFullError", "remedy": REMEDY}
    raise dg.Failure(f"DiskFullError: no space for {context.run.tags[PARTITION_TAG]}", failure, allow_retries=False)


def test_a_run_starts_works_and_is_done(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_news, "_SILENT_S", 0.0)
    run(instance, "before.nwb")
    news = RunNews(instance, Store(tmp_path / "store"))
    said = []

    def work(context: dg.OpExecutionContext) -> None:
        said.extend(news.read())
        context.log.debug("nothing of interest")
        for _ in range(2):
            context.log.info("day.nwb, kilosort4, 30 s: spike detection (stage 3 of 8), 40 %, about 20 s left.")
            said.extend(news.read())

    run(instance, "day.nwb", work)
    said.extend(news.read())

    assert [re.sub(r"\d s$", "0 s", str(one)) for one in said] == [
        "day.nwb: started",
        "day.nwb: sorting, for 0 s",
        "day.nwb: sorting, kilosort4, 30 s: spike detection (stage 3 of 8), 40 %, about 20 s left.",
        "day.nwb: done in 0 s",
    ]
    assert news.read() == []


def test_one_line_tells_of_many_that_fail_at_once_and_what_to_do(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    news = RunNews(instance, Store(tmp_path / "store"))
    for number in range(7):
        run(instance, f"{number}.nwb", fail)

    lines = list(format_news(news.read()))

    assert lines == [
        "7 recordings: started (0.nwb, 1.nwb, 2.nwb, 3.nwb, 4.nwb and 2 more)",
        "7 recordings: failed in sorting: DiskFullError (0.nwb, 1.nwb, 2.nwb, 3.nwb, 4.nwb and 2 more). The first: "
        f"failed in sorting: DiskFullError: no space for 0.nwb Remedy: {REMEDY}",
    ]


def test_of_a_run_that_waits_in_the_queue_that_is_said_once(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_news, "_QUEUED_S", 0.0)
    news = RunNews(instance, Store(tmp_path / "store"))
    queued = dg.DagsterRun(
        job_name="sort_recording",
        run_id="8f2c0000-0000-0000-0000-000000000000",
        status=dg.DagsterRunStatus.QUEUED,
        tags={PARTITION_TAG: "day.nwb"},
        remote_job_origin=RemoteJobOrigin(
            repository_origin=RemoteRepositoryOrigin(
                code_location_origin=RegisteredCodeLocationOrigin("sort_assets"), repository_name="sort_assets"
            ),
            job_name="sort_recording",
        ),
    )
    instance.add_run(queued)
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_ENQUEUED.value, job_name="sort_recording"),
        run_id=queued.run_id,
    )

    said = [*news.read(), *news.read()]
    instance.report_run_canceled(queued)
    said += news.read()

    assert [str(one) for one in said] == [
        "day.nwb: waits in the queue for the daemon to start it",
        "day.nwb: terminated",
    ]


def test_while_nothing_happens_the_database_is_asked_for_its_newest_event_alone(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = RunNews(instance, Store(tmp_path / "store"))
    run(instance, "day.nwb")
    first = news.read()
    asked: list[object] = []
    fetch = dg.DagsterInstance.fetch_run_status_changes

    def count(self: dg.DagsterInstance, records_filter: object, *args: object, **named: object) -> object:
        asked.append(records_filter)
        return fetch(self, records_filter, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(dg.DagsterInstance, "fetch_run_status_changes", count)
    idle, asked_while_idle = news.read(), len(asked)
    run(instance, "night.nwb")
    then = news.read()

    assert {one.recording for one in first} == {"day.nwb"}
    assert idle == []
    assert asked_while_idle == 0
    assert {one.recording for one in then} == {"night.nwb"}
