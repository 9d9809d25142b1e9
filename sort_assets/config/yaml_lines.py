"""YAML with the line and column of everything in it, for error messages that point at the mistake.

Parsed by ruamel.yaml; plain words mean what they do in the core schema of YAML 1.2, not in YAML 1.1:
only ``true`` and ``false`` are truth values, only decimal
numbers are numbers, and everything else is text. So ``lab: no``, ``subject_id: 007`` and ``date_of_birth: 2024-05-01``
mean what they say. There are no tags, no aliases, no NaN, and bounds on size, depth and number of values: the file may
come from anybody who can write into the recordings root, and a sensor reads it again and again.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from sort_assets.errors import RulesError

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 32
_MAX_PROBLEMS_SHOWN = 20

YamlPath = tuple[str | int, ...]
"""Keys and indices from the top level down to a value."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?!0[0-9])([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LARGEST_INTEGER = 2**63
_PASSED_OVER = -1
_NEEDS_QUOTES = "a value that begins with * & ! % @ or ` must stand in quotes"


@dataclass(frozen=True, order=True)
class Position:
    """Where something stands in a text.

    Attributes
    ----------
    line, column : int
        Counted from 1.
    """

    line: int
    column: int


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake in a file: where it is, what is wrong, and what to write instead."""

    position: Position
    message: str


@dataclass
class LocatedYaml:
    """What a YAML text says, and where it says it.

    Attributes
    ----------
    value : Any
        Mappings, lists, text, whole and finite numbers, truth values and None, as in JSON. None for an empty text.
    keys, values : dict
        The `Position` of each mapping key, and of each value, by its path.
    problems : list of Problem
        What was wrong and left out: duplicate keys, keys that are no text, numbers that are none.
    """

    value: Any = None
    keys: dict[YamlPath, Position] = field(default_factory=dict)
    values: dict[YamlPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def position(self, path: YamlPath, *, of_key: bool = False) -> Position:
        """Where a value (or its key) stands; for a path that is not there, the nearest that is above it."""
        for end in range(len(path), -1, -1):
            for places in (self.keys, self.values) if of_key else (self.values, self.keys):
                if path[:end] in places:
                    return places[path[:end]]
        return Position(1, 1)


def field_name(path: YamlPath) -> str:
    """How a message names what stands at a path: by its keys, since the line says which of several it is."""
    return ".".join(part for part in path if isinstance(part, str)).removeprefix("rules.")


def rules_error(source: str, problems: list[Problem]) -> RulesError:
    """One error for all mistakes of a file, in the order of their lines."""
    problems = sorted(problems)
    lines = [
        f"{source}, line {problem.position.line}, column {problem.position.column}: {problem.message}."
        for problem in problems[:_MAX_PROBLEMS_SHOWN]
    ]
    if len(problems) > _MAX_PROBLEMS_SHOWN:
        lines.append(f"And {len(problems) - _MAX_PROBLEMS_SHOWN} more.")
    return RulesError(
        "\n".join(lines),
        remedy=f"Correct the named {'line' if len(problems) == 1 else 'lines'} of {source}.",
        path=source,
        problems=len(problems),
        line=problems[0].position.line,
        column=problems[0].position.column,
    )


def read_yaml(text: str | bytes, source: str) -> LocatedYaml:
    """Read one YAML document.

    Parameters
    ----------
    text : str or bytes
        The content of the file; bytes must be UTF-8.
    source : str
        Names the file in error messages.

    Raises
    ------
    RulesError
        When the text can't be read at all: too large, not UTF-8, no YAML, or YAML with tags or aliases.
    """
    try:
        return _Reader(_decoded(text)).read()
    except _UnreadableError as error:
        raise rules_error(source, [error.problem]) from None


class _UnreadableError(Exception):
    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(position, message)


def _decoded(text: str | bytes) -> str:
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(encoded) > MAX_BYTES:
        raise _UnreadableError(Position(1, 1), f"the file is larger than {MAX_BYTES} bytes, which no rules file needs")
    try:
        return encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = "the file is not UTF-8; save it again with the encoding UTF-8"
        raise _UnreadableError(_position_of_byte(encoded, error.start), message) from None


def _position_of_byte(encoded: bytes, offset: int) -> Position:
    before = encoded[:offset].decode("utf-8", "replace")
    return Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Reader:
    """Builds values from the parser's events, so that depth and number are bounded before anything is built."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self._result = LocatedYaml()
        self._count = 0

    def read(self) -> LocatedYaml:
        try:
            next(self._events)  # the stream's beginning
            if isinstance(next(self._events), DocumentStartEvent):
                self._result.value = self._node(next(self._events), ())
                next(self._events)  # the document's end
                after = next(self._events)
                if not isinstance(after, StreamEndEvent):
                    raise _UnreadableError(_start(after), "a second document begins here; there may be only one")
        except ReaderError as error:
            position = _position_of_byte(self._text.encode(), len(self._text[: error.position].encode()))
            raise _UnreadableError(position, f"a character that YAML does not allow ({error.reason})") from None
        except MarkedYAMLError as error:
            raise self._syntax_error(error) from None
        return self._result

    def _syntax_error(self, error: MarkedYAMLError) -> _UnreadableError:
        mark = error.problem_mark or error.context_mark
        if mark is None:
            return _UnreadableError(Position(1, 1), f"this is not YAML: {error.problem}")
        lines = self._text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        problem, context = error.problem or "", error.context or ""
        message = f"this is not YAML: {problem}"
        if "\t" in line[: len(line) - len(line.lstrip())]:
            message = "a tab; indent with spaces"
        elif "quoted scalar" in context and "end of stream" in problem and error.context_mark is not None:
            mark, message = error.context_mark, "a quote that begins here does not end"
        elif "cannot start any token" in problem or "alias" in context:
            message = f"this is not YAML: {_NEEDS_QUOTES}"
        elif "mapping values are not allowed" in problem:
            message = "this is not YAML: a second ':' in one line, or wrong indentation; text with ': ' needs quotes"
        elif "expected '-' indicator" in problem or "expected <block end>" in problem or "expected key" in problem:
            message = "this is not YAML: wrong indentation; what belongs together begins in the same column"
        return _UnreadableError(Position(mark.line + 1, mark.column + 1), message)

    def _node(self, event: Any, path: YamlPath) -> Any:
        position = _start(event)
        self._refuse_what_is_not_plain(event, position)
        self._count += 1
        if self._count > MAX_VALUES:
            raise _UnreadableError(position, f"more than {MAX_VALUES} values, which no rules file needs")
        if len(path) > MAX_DEPTH:
            raise _UnreadableError(position, f"nested more than {MAX_DEPTH} levels deep")
        self._result.values[path] = position
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _refuse_what_is_not_plain(self, event: Any, position: Position) -> None:
        if isinstance(event, AliasEvent):
            raise _UnreadableError(position, f"aliases (*{event.anchor}) are not read; {_NEEDS_QUOTES}")
        if event.anchor is not None:
            raise _UnreadableError(position, f"anchors (&{event.anchor}) are not read; {_NEEDS_QUOTES}")
        if event.tag is not None:
            raise _UnreadableError(position, f"tags ({event.tag}) are not read; {_NEEDS_QUOTES}")

    def _mapping(self, path: YamlPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            position = _start(event)
            self._refuse_what_is_not_plain(event, position)
            if not isinstance(event, ScalarEvent):
                raise _UnreadableError(position, "a key must be a word")
            key = event.value
            inside = (*path, key)
            if key in mapping:
                first = self._result.keys[inside].line
                message = f"{field_name(inside)}: stands here twice, first in line {first}"
                self._result.problems.append(Problem(position, message))
                self._node(next(self._events), (*path, _PASSED_OVER))
                continue
            self._result.keys[inside] = position
            mapping[key] = self._node(next(self._events), inside)
        return mapping

    def _sequence(self, path: YamlPath) -> list[Any]:
        sequence: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            sequence.append(self._node(event, (*path, len(sequence))))
        return sequence

    def _scalar(self, event: Any, path: YamlPath) -> Any:
        word = event.value
        in_quotes_or_block = not event.implicit[0]
        if in_quotes_or_block:
            return word
        if word in _NULL:
            return None
        if word in _TRUTH:
            return _TRUTH[word]
        if _INTEGER.fullmatch(word):
            return self._number(int(word) if len(word) < 20 else _LARGEST_INTEGER, path)
        if _FLOAT.fullmatch(word):
            return self._number(float(word), path)
        if _NOT_FINITE.fullmatch(word):
            return self._number(math.inf, path)
        return word

    def _number(self, number: int | float, path: YamlPath) -> int | float | None:
        if abs(number) < _LARGEST_INTEGER if isinstance(number, int) else math.isfinite(number):
            return number
        message = f"{field_name(path)}: should be a finite number, and a whole one below 2 to the power of 63"
        self._result.problems.append(Problem(self._result.values[path], message))
        return None


def _start(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)
