"""The table of a soak: faults by kind, recordings, what was left."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sort_assets_tests.soak.checks import Check
from sort_assets_tests.soak.faults import Injected
from sort_assets_tests.soak.recordings import Outcome
from sort_assets_tests.soak.stories import RunStory

_NOTICED_WITHIN_S = 300.0
_MOST_LISTED = 20


@dataclass(frozen=True)
class Results:
    """What a soak has found.

    Attributes
    ----------
    title : str
        Engine, database, seed, duration.
    interrupted_in : str or None
        What was going on when it was interrupted; None where it ran to its end.
    injected : list of Injected
    stories : Mapping[str, RunStory]
    before, after : list of Outcome
        How the recordings stood before and after `sort-assets retry-failed`.
    sorts : Mapping[str, int]
        By recording, how often a sorter started.
    restarts : list of float
        When `sort-assets up` ended and had to be started again.
    checks : list of Check
    """

    title: str
    interrupted_in: str | None
    injected: Sequence[Injected]
    stories: Mapping[str, RunStory]
    before: Sequence[Outcome]
    after: Sequence[Outcome]
    sorts: Mapping[str, int]
    restarts: Sequence[float]
    checks: Sequence[Check]

    @property
    def wrong(self) -> list[str]:
        """Everything that does not hold."""
        return [f"{check.name}: {line}" for check in self.checks for line in check.wrong]

    def lines(self) -> Iterator[str]:
        """The table as Markdown."""
        yield f"# Soak: {self.title}"
        yield ""
        if self.interrupted_in:
            yield f"It was interrupted in {self.interrupted_in}: what follows is how things stood then."
            yield ""
        yield from self._faults()
        yield ""
        yield from self._recordings()
        yield ""
        yield "| what must hold | |"
        yield "|---|---|"
        for check in self.checks:
            yield f"| {check.name} | {'yes' if not check.wrong else f'NO, {len(check.wrong)}'} |"
        for check in self.checks:
            for line in check.wrong[:_MOST_LISTED]:
                yield f"- {check.name}: {line}"

    def _faults(self) -> Iterator[str]:
        kinds: dict[str, list[Injected]] = defaultdict(list)
        for one in self.injected:
            kinds[one.name].append(one)
        yield "| fault | injected | nothing to hit | noticed after s: median, longest | runs hit | their ends |"
        yield "|---|---|---|---|---|---|"
        for name, all_of_kind in sorted(kinds.items()):
            hit = [one for one in all_of_kind if one.target]
            times = [seconds for one in hit if (seconds := self._noticed_after(one)) is not None]
            noticed = f"{statistics.median(times):.1f}, {max(times):.1f} ({len(times)} of {len(hit)})" if times else ""
            runs = [run for one in hit for run in one.runs]
            fates = Counter(self._fate(one, run) for one in hit for run in one.runs)
            told = ", ".join(f"{number} {fate}" for fate, number in fates.most_common())
            missed = len(all_of_kind) - len(hit)
            yield f"| {name} | {len(hit)} | {missed or ''} | {noticed} | {len(runs)} | {told} |"

    def _recordings(self) -> Iterator[str]:
        yield f"`sort-assets up` ended and was started again {len(self.restarts)} times."
        yield ""
        yield "| recordings | before `retry-failed` | after |"
        yield "|---|---|---|"
        before, after = (Counter(one.state for one in some) for some in (self.before, self.after))
        for state in sorted({*before, *after}, key=lambda one: -after[one]):
            yield f"| {state} | {before[state]} | {after[state]} |"
        yield ""
        counted = Counter(self.sorts.values())
        told = ", ".join(f"{number} recordings {times} times" for times, number in sorted(counted.items()))
        yield f"Sorters started: {told or 'none'}."
        failed = [one for one in self.after if one.message]
        yield from (f"- {one.name} ({one.how}): {one.state}: {one.message}" for one in failed[:_MOST_LISTED])

    def _noticed_after(self, one: Injected) -> float | None:
        """Seconds until something was noticed: in a run that was hit, or by the end of `sort-assets up`."""
        times = [
            at
            for run in one.runs
            if run in self.stories
            for at in self.stories[run].trouble
            if one.at <= at < self._next_hit(run, one.at)
        ]
        times += [at for at in self.restarts if one.ends_up and one.at <= at]
        return min((at - one.at for at in times if at - one.at < _NOTICED_WITHIN_S), default=None)

    def _next_hit(self, run: str, after: float) -> float:
        """When a later fault hit the same run, which is then to blame for what follows."""
        return min((one.at for one in self.injected if run in one.runs and one.at > after), default=math.inf)

    def _fate(self, one: Injected, run: str) -> str:
        story = self.stories.get(run)
        if story is None:
            return "unknown"
        troubled = [at for at in story.trouble if one.at <= at < self._next_hit(run, one.at)]
        status = story.status.value.lower()
        if not troubled:
            return "went on"
        return "tried again, success" if status == "success" else f"tried again or {status}"


def first_lines(lines: Iterable[str]) -> str:
    """As text."""
    return "\n".join(lines) + "\n"
