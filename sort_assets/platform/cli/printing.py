"""What the commands print: names as they are, and whatever could confuse a terminal escaped."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sort_assets.errors import SortAssetsError

console = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def printable(text: str) -> str:
    """Text with control characters, and bytes that are no UTF-8, escaped as Python does; lines stay lines."""
    return "".join(
        character if character.isprintable() or character == "\n" else _escaped(character) for character in text
    )


def name_of(name: str) -> str:
    """A file's name, or another on one line."""
    return printable(name).replace("\n", "\\n")


def say(line: str) -> None:
    """Print a line."""
    console.print(printable(line), markup=False, soft_wrap=True)


def complain(line: str) -> None:
    """Print a line to stderr."""
    errors.print(printable(line), markup=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print a JSON document; names with bytes that are no UTF-8 come back as they were, with `os.fsencode`."""
    click.echo(json.dumps(content))


def cell(text: str, style: str = "") -> Text:
    """The cell of a table."""
    return Text(printable(text), style=style)


@contextmanager
def errors_in_words() -> Iterator[None]:
    """End the command with status 1 at an error that is classified, and say what it is."""
    try:
        yield
    except SortAssetsError as error:
        errors.print(f"[red]{type(error).__name__}[/]: ", end="")
        errors.print(printable(error.message), markup=False)
        errors.print("Remedy: ", end="")
        errors.print(printable(error.remedy), markup=False)
        sys.exit(1)


@contextmanager
def others_go_on(name: object, failed: list[str]) -> Iterator[None]:
    """Print what is wrong with one of several, and note that it failed."""
    try:
        yield
    except SortAssetsError as error:
        failed.append(str(name))
        complain(f"{name_of(str(name))}: {error}")


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
