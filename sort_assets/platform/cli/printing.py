"""Output of the commands: tables and lines, with everything escaped that could confuse a terminal."""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sort_assets.errors import SortAssetsError

console = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)

_GAP = "  "
_ROWS_FITTED = 200
"""Number of rows above which a table is not fitted to the terminal: that would take several times as long."""
_NARROWEST = 16
"""Number of characters below which text is not wrapped: a terminal that has less room gets whole lines."""


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


def say_now(line: str) -> None:
    """Print a line behind the local time, at once: into a file or a pipe, Python keeps lines back for a while."""
    say(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}  {line}")
    console.file.flush()


def complain(line: str) -> None:
    """Print a line to stderr."""
    errors.print(printable(line), markup=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print a JSON document; names with bytes that are no UTF-8 come back as they were, with `os.fsencode`."""
    click.echo(json.dumps(content))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wrapped: Collection[str],
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print a table: fitted to a terminal, and with whole lines into a file or a pipe, so that they can be searched.

    Parameters
    ----------
    columns : sequence of str
        Their names.
    rows : sequence of sequence of str
        A text for each column. Its line breaks are kept in a terminal, and are spaces elsewhere.
    wrapped : collection of str
        Columns that are wrapped where the terminal is too narrow: between words, and within a word only if it does not
        fit.
    styles : mapping or None
        Style of rich by text; it is applied to cells with exactly that text.
    """
    texts = [[printable(text) for text in row] for row in rows]
    if not sys.stdout.isatty() or len(rows) > _ROWS_FITTED or console.width < _least_width(columns, texts, wrapped):
        _print_lines([columns, *texts])
        return
    table = Table(box=None, padding=(0, len(_GAP), 0, 0), pad_edge=False)
    for column in columns:
        if column in wrapped:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, overflow="fold", no_wrap=True)
    for row in texts:
        table.add_row(*(Text(text, style=(styles or {}).get(text, "")) for text in row))
    console.print(table)


def _least_width(columns: Sequence[str], texts: Sequence[Sequence[str]], wrapped: Collection[str]) -> int:
    widths = (
        _NARROWEST if cells[0] in wrapped else max(map(len, cells)) for cells in zip(columns, *texts, strict=True)
    )
    return sum(widths) + len(_GAP) * len(columns)


def _print_lines(rows: Sequence[Sequence[str]]) -> None:
    lines = [[text.replace("\n", " ") for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo(_GAP.join(map(str.ljust, line, widths)).rstrip())


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Print a classified error, and end the command with status 1."""
    try:
        yield
    except SortAssetsError as error:
        errors.print(f"[red]{type(error).__name__}[/]: ", end="")
        complain(f"{error.message}\nRemedy: {error.remedy}")
        sys.exit(1)


@contextmanager
def others_go_on(name: object, failed: list[str]) -> Iterator[None]:
    """Print the error of one of several items, note that it failed, and continue with the others."""
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
