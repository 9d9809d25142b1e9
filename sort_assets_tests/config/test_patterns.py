"""Patterns as in a .gitignore."""

import subprocess
import time
from pathlib import Path

import pytest

from sort_assets.config.patterns import PathPatterns, as_folder, check_pattern

PATHS = (
    "a.h5",
    "m/a.h5",
    "m/day 1/a.h5",
    "n/m/a.h5",
    "m/b-1_x_2.nwb",
    "archive/b.nwb",
    "n/archive/c/b.nwb",
    "x",
    "n/x",
)


@pytest.mark.parametrize(
    "pattern",
    [
        "*.h5",
        "/*.h5",
        "m/*.h5",
        "m/**/*.h5",
        "**/m/*",
        "archive/**",
        "/archive",
        "archive",
        "*_*_*.nwb",
        "b-[0-9]_?_*.nwb",
        "m[!a]*/*.h5",
        "d*y\\ 1",
    ],
)
def test_a_pattern_chooses_what_git_would(pattern: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    asked = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(PATHS),
        capture_output=True,
        text=True,
        check=False,
    )
    git_chooses = set(asked.stdout.split("\0")) - {""}

    chosen = {path for path in PATHS if PathPatterns((pattern,)).match(as_folder(path))}

    assert chosen == git_chooses


def test_the_last_pattern_that_matches_decides() -> None:
    patterns = PathPatterns(("archive/", "!archive/new/", "archive/new/bad*"))

    chosen = [path for path in ("archive/a", "archive/new/a", "archive/new/bad1") if patterns.match(as_folder(path))]

    assert chosen == ["archive/a", "archive/new/bad1"]


@pytest.mark.parametrize(
    "pattern", ["", " ", "/", "!", "# comment", "./m/*.h5", "../m", "m/../n", "a/**/b/**/c/**/**/d"]
)
def test_a_pattern_that_can_match_nothing_or_is_too_costly_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"no pattern|match nothing|too long"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "path"), [("*_*_*_*_*_*.h5", "a_" * 100), ("*a*a*a*a*a*a*b", "a" * 200), ("**/a/**/a/**/b", "a/" * 100)]
)
def test_a_long_name_is_decided_quickly(pattern: str, path: str) -> None:
    patterns = PathPatterns((pattern,))
    start = time.monotonic()

    assert not patterns.match(as_folder(path))

    assert time.monotonic() - start < 1
