"""What is said of recordings: a line for each, or one for many of which the same is said."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINES_OF_A_KIND = 5
_NAMED = 5
_LONGEST = 1000


@dataclass(frozen=True)
class News:
    """Something that has happened to a recording.

    Attributes
    ----------
    recording : str
        Its key, or its path while it has none.
    text : str
        What has happened, as a phrase that follows its name.
    kind : str
        What is said of many in one line; empty where it is said of each.
    """

    recording: str
    text: str
    kind: str = ""

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        return f"{self.recording}: {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}"


def format_news(news: Iterable[News]) -> Iterator[str]:
    """A line for each, in their order; one line for more than five of a kind."""
    by_kind: dict[str, list[News]] = {}
    for number, one in enumerate(news):
        by_kind.setdefault(one.kind or f"@{number}", []).append(one)
    for kind, found in by_kind.items():
        if len(found) <= _LINES_OF_A_KIND:
            yield from map(str, found)
        else:
            names = ", ".join(one.recording for one in found[:_NAMED])
            first = "" if found[0].text == kind else f". The first: {found[0].text}"
            yield str(News(f"{len(found)} recordings", f"{kind} ({names} and {len(found) - _NAMED} more){first}"))


def format_seconds(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
