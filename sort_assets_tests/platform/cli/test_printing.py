"""Names from a disk can't do anything to a terminal, nothing is lost in JSON, and tables fit where they go."""

import json
import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from sort_assets.platform.cli.printing import name_of, print_json, printable, say


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("day.nwb", "day.nwb"),
        ("ünï 日.nwb", "ünï 日.nwb"),
        ("[bold]:smile:", "[bold]:smile:"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\tc", "a\\rb\\tc"),
        (os.fsdecode(b"\xff\xfe.nwb"), "\\xff\\xfe.nwb"),
        ("\u202egnp.nwb", "\\u202egnp.nwb"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_names_are_shown_on_one_line_without_control_characters(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say(name_of(name))

    assert capsys.readouterr().out == f"{shown}\n"


def test_messages_keep_their_lines() -> None:
    assert printable("one\ntwo\x07") == "one\ntwo\\x07"


def test_json_brings_every_name_back(capsys: pytest.CaptureFixture[str]) -> None:
    names = [os.fsdecode(b"\xff\n\x1b.nwb"), "ü" * 200, "-rf"]

    print_json(names)

    assert json.loads(capsys.readouterr().out) == names


KEY = "mouse_12~2026-03-01~plate_17_a_long_name.raw.h5@well003"
STATUS = f"""
from sort_assets.platform.cli.printing import print_table
rows = [
    ({KEY!r}, "4 of 8, not unit_metrics, …", "812 units, 600 kept by anna (degraded); changed since", "success"),
    ("day.nwb", "all", "8 units", "success"),
]
columns = ("recording", "done", "outcome", "last run")
print_table(columns, rows, wrapped={{"recording", "outcome"}}, styles={{"all": "green"}})
"""
DOCTOR = """
from sort_assets.checks.result import ok, warning
from sort_assets.platform.cli.instance import print_check_results
print_check_results([
    ok("spikeinterface", "0.105.3"),
    warning("sorter spykingcircus2", "not installed: hdbscan, numba missing", "pip install 'sort-assets[cpu-sorters]'"),
    warning("store", "/a/folder/with/a/long/name/no/space, 12 GB free", "Free some space: each sort needs it."),
])
"""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def _in_a_terminal(code: str, columns: int) -> list[str]:
    """What a program prints in a terminal of a width, without colours."""
    terminal, program = pty.openpty()
    termios.tcsetwinsize(program, (50, columns))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen([sys.executable, "-c", code], stdout=program, stdin=program, env=environment):
        os.close(program)
        printed = b""
        while True:
            try:
                read = os.read(terminal, 4096)
            except OSError:  # the program has ended
                break
            if not read:
                break
            printed += read
    os.close(terminal)
    return [line.rstrip() for line in _COLOURS.sub("", printed.decode()).splitlines()]


def test_a_table_in_a_pipe_has_whole_lines() -> None:
    done = subprocess.run([sys.executable, "-c", STATUS], capture_output=True, text=True, check=True)

    names, long, short = done.stdout.splitlines()
    assert names.split() == ["recording", "done", "outcome", "last", "run"]
    assert long.split("  ")[0] == KEY
    assert "812 units, 600 kept by anna (degraded); changed since  success" in long
    assert short.split() == ["day.nwb", "all", "8", "units", "success"]


def test_a_table_in_a_wide_terminal_has_whole_lines() -> None:
    lines = _in_a_terminal(STATUS, 200)

    assert len(lines) == 3
    assert lines[1].startswith(KEY)


def test_a_table_in_a_narrow_terminal_fits_and_breaks_no_words() -> None:
    lines = _in_a_terminal(STATUS, 80)

    assert max(map(len, lines)) <= 80
    assert "4 of 8, not unit_metrics, …" in lines[1]
    words = " ".join(lines).split()
    assert {"units,", "kept", "(degraded);", "changed", "since"} <= {*words}


def test_a_table_for_which_a_terminal_is_much_too_narrow_loses_no_column() -> None:
    text = "".join(_in_a_terminal(STATUS, 40))

    assert KEY in text
    assert text.count("success") == 2


def test_what_doctor_prints_can_be_read_at_80_columns() -> None:
    lines = _in_a_terminal(DOCTOR, 80)

    assert max(map(len, lines)) <= 80
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "ok spikeinterface 0.105.3" in text
    assert "warning sorter spykingcircus2 not installed: hdbscan, numba missing\nRemedy: pip install" in text
    assert len(lines) <= 9
