"""Names that come from a disk can't do anything to a terminal, and nothing is lost in JSON."""

import json
import os

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
