"""The code server of `sort-assets up` is reloaded and killed while a run goes on."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sort_assets_tests.faults.runs import assert_nothing_half_done, note, retries_of, sorter_of
from sort_assets_tests.fixtures.home import CHEAP
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.fixtures.servers import up

RELOAD = """
mutation Reload { reloadRepositoryLocation(repositoryLocationName: "sort_assets") { __typename } }
"""


@pytest.mark.slow
@pytest.mark.release
def test_a_run_goes_on_and_the_next_one_starts_when_the_code_is_reloaded_and_its_server_killed(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key
    params = {"fault": "hang", "done": str(tmp_path / "done"), "seconds": 45}
    slow = {"sorter": {"name": "misbehaving", "params": params}, "execution": {"n_jobs": 1}}
    with up(home, tmp_path / "up.log", python_path=misbehaving) as (server, servers):
        (first,) = _with_code(servers.pid)
        run_id = server.launch("sort_again", key, {"resources": {"backend": {"config": slow}}})["run"]["runId"]
        sorter_of(home, key)

        reloaded = server.ask(RELOAD)["reloadRepositoryLocation"]["__typename"]
        _wait_for(lambda: len(_with_code(servers.pid)) == 2)  # the old one waits for its run
        before = _with_code(servers.pid)
        for process in before:
            process.kill()
        _wait_for(lambda: bool(set(_with_code(servers.pid)) - set(before)))
        server.wait_for_code()
        status = server.wait_for(run_id)
        again = server.launch("sort_again", key, {"resources": {"backend": {"config": CHEAP}}})["run"]["runId"]
        status_again = server.wait_for(again)

    note(home, key, "code reloaded, and its processes killed", "the run succeeds, and so does the next one")
    assert reloaded == "WorkspaceLocationEntry"
    assert first in before
    assert (status, status_again) == ("SUCCESS", "SUCCESS")
    assert retries_of(home, run_id) == 0
    assert "The process in which code-server loads the code has died. It is started again" in (
        tmp_path / "up.log"
    ).read_text(encoding="utf-8")
    assert_nothing_half_done(home, key)


def _with_code(pid: int) -> list[psutil.Process]:
    """The processes that have loaded the code."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            if {"api", "grpc"} <= set(process.cmdline()):
                found.append(process)
    return found


def _wait_for(what: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)
