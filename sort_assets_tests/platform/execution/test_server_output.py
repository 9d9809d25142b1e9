"""What a server prints goes into a file of bounded size, whose last lines are told when it dies."""

import time
from pathlib import Path

import pytest

from sort_assets.platform.execution.server_output import ServerOutput
from sort_assets.platform.execution.supervised_server import SupervisedServer


def test_a_full_file_is_copied_and_emptied_under_its_writer_and_three_old_ones_are_kept(tmp_path: Path) -> None:
    output = ServerOutput(tmp_path / "logs", "daemon", largest_bytes=10)
    with output.opened() as file:
        for number in range(6):
            file.write(f"line {number} of the daemon\n".encode())
            file.flush()
            output.rotate()
        file.write(b"short\n")
        file.flush()
        output.rotate()

    found = {one.name: one.read_text() for one in (tmp_path / "logs").iterdir()}
    assert found == {
        "daemon.log": "short\n",
        "daemon.log.1": "line 5 of the daemon\n",
        "daemon.log.2": "line 4 of the daemon\n",
        "daemon.log.3": "line 3 of the daemon\n",
    }


def test_the_last_lines_of_a_server_that_fails_at_its_start_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('the port is taken')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    output = ServerOutput(tmp_path, "server")
    output.file.write_text("what an earlier one printed\n")

    server = SupervisedServer("server", ["broken"], output=output)
    deadline = time.monotonic() + 20
    while (problem := server.check()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert problem == f"server ended by itself with status 1; see its output in '{tmp_path}/server.log'."
    assert server.last_lines == ["the port is taken"]
