"""Paths chosen by patterns, as in a ``.gitignore``."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_ANY = r"\[\^/\]\*"
_SEVERAL_ANY = re.compile(rf"(?:{_ANY}){{2,}}")
_BRACKETS = r"\[(?!\^/\])(?:\\.|[^\]\\])*\]"
_ONE_CHARACTER = rf"\\.|\[\^/\](?!\*)|\(\?!/\){_BRACKETS}|[^\\/(\[]"
_TEXT_BETWEEN = re.compile(rf"{_ANY}((?:{_ONE_CHARACTER})+)(?={_ANY})")
_MAX_FOLDERS_ANY = 3


def check_pattern(pattern: str) -> str:
    """The pattern itself.

    Raises
    ------
    ValueError
        When it can match nothing.
    """
    if {".", ".."} & set(pattern.strip().removeprefix("!").split("/")):
        raise ValueError("can match nothing: patterns are relative to the recordings root and have no '.' or '..'")
    try:
        usable = GitIgnoreSpecPattern(pattern).regex is not None
    except GitIgnorePatternError:
        usable = False
    if not usable:
        raise ValueError("is no pattern as in a .gitignore, such as mouse1/**/*.h5 or archive/")
    if pattern.count("**") > _MAX_FOLDERS_ANY:
        raise ValueError(f"has '**' more than {_MAX_FOLDERS_ANY} times, which takes too long to match")
    return pattern


def _matcher(pattern: str) -> tuple[Callable[[str], object], bool]:
    compiled = GitIgnoreSpecPattern(pattern)
    expression = _as_git_matches(compiled.regex.pattern)  # type: ignore[union-attr]
    if pattern.rstrip().endswith("/**"):
        expression += "."
    find = re.compile(expression)
    return find.match if expression.startswith("^") else find.search, bool(compiled.include)


def _as_git_matches(expression: str) -> str:
    """The expression of `pathspec`, with brackets that match no slash, and without needless backtracking.

    Text between two ``*`` is taken where it first stands: what follows may be anything up to the next slash, so that
    no later place does better. Tried one after the other, the places make ``*_*_*_*_*.h5`` take seconds for a name.
    """
    expression = re.sub(_BRACKETS, r"(?!/)\g<0>", expression)
    return _TEXT_BETWEEN.sub(r"(?>[^/]*?\1)", _SEVERAL_ANY.sub("[^/]*", expression))


@dataclass(frozen=True)
class PathPatterns:
    """Patterns of which the last that matches decides; one that begins with ``!`` excludes.

    Attributes
    ----------
    patterns : tuple of str
        As `check_pattern` accepts them.
    """

    patterns: tuple[str, ...]
    _last_first: tuple[tuple[Callable[[str], object], bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_last_first", tuple(_matcher(pattern) for pattern in reversed(self.patterns)))

    @property
    def excludes(self) -> bool:
        """Whether some pattern takes paths out again."""
        return any(not include for _, include in self._last_first)

    def match(self, path: str) -> bool:
        """Whether a path is chosen.

        A path is taken as a folder's, since it is not looked at: ``archive/`` also chooses a file named ``archive``.

        Parameters
        ----------
        path : str
            Relative, with ``/`` between its parts and at its end.
        """
        for matches, include in self._last_first:
            if matches(path):
                return include
        return False


def as_folder(relative: str) -> str:
    """A relative path as `PathPatterns.match` takes it."""
    return f"{relative.rstrip('/')}/"
