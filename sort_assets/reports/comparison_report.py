"""The page of a comparison of two sortings, of the same kind as a recording's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.comparisons.fates import CONTAINED, FATES, LEAST_PART, MATCH
from sort_assets.reports.content import AttentionPoint, ReportContent, ReportFigure, ReportTable, SummaryNumber

if TYPE_CHECKING:
    import pandas as pd

    from sort_assets.checks.result import CheckResult
    from sort_assets.comparisons.sortings import SortingComparison

_ORDER = ("lost", "split", "merged", "moved", "new", "kept")
"""What needs a look comes first."""
CAPTIONS = {
    "fates": "Units of the earlier sorting by what became of them, and those that only the later one has.",
    "agreement": "Left: how much of their spikes earlier units share with what they became; the dashed line is where "
    "two units count as the same. Right: rates before and now.",
}
"""Of the figures of a comparison, by name."""
_MOST_ROWS = 1000
_COLUMNS = (
    "Fate",
    "Before",
    "Now",
    "Agreement",
    "Rate (Hz)",
    "Amplitude (µV)",
    "Main channel",
    "Distance (µm)",
    "Waveforms",
)
_ALWAYS = 5
"""The columns that are there also where nothing is known for them: places and waveforms may be missing."""
_MEANING = (
    f"Kept: matched one to one, with at least {MATCH:.0%} of the spikes of both shared. Moved: kept, but elsewhere on "
    "the probe. Split, merged: most spikes are in several units now, or in one with those of others "
    f"(parts of at least {LEAST_PART:.0%}, each with {CONTAINED:.0%} of its spikes from there). Lost, new: no unit of "
    "the other sorting has that much of it; the best match is in brackets. Numbers are before / now; "
    "waveforms: how alike the average ones are, 1 being the same."
)


def comparison_content(
    comparison: SortingComparison,
    *,
    title: str,
    recording_key: str,
    old_name: str,
    new_name: str,
    check: CheckResult,
    figures: Sequence[ReportFigure] = (),
    differing: Sequence[tuple[str, str, str]] = (),
) -> ReportContent:
    """What the page of a comparison says.

    Parameters
    ----------
    comparison : SortingComparison
    title, recording_key : str
    old_name, new_name : str
        Which sortings they are, in words.
    check : CheckResult
        Whether as much persists as usual.
    figures : sequence of ReportFigure
    differing : sequence of (str, str, str)
        Settings and versions that differ: name, before, now.
    """
    counts = comparison.counts
    persisting = len(comparison.persisting)
    before = len(comparison.old_fates)
    attention = [] if check.passed else [AttentionPoint("warning", check.description, source=check.name)]
    if comparison.cut_s > 0:
        words = f"The sortings are of different stretches; {comparison.cut_s:.1f} s that only one has are left out."
        attention.append(AttentionPoint("note", words))
    numbers = [
        SummaryNumber("Still there", f"{persisting} of {before}", "kept, moved, or whole but for a small part"),
        *(SummaryNumber(fate.capitalize(), str(counts[fate]), "units") for fate in counts),
    ]
    changes = ReportTable("What differs in how they were made", ("What", "Before", "Now"), tuple(differing))
    nothing = ReportTable("What differs in how they were made", ("What",), (("No setting and no package.",),))
    return ReportContent(
        title=f"{title}: what became of the units",
        recording_key=recording_key,
        written_at=datetime.now(UTC),
        headline=f"{comparison.headline} Before: {old_name}. Now: {new_name}.",
        attention=tuple(attention),
        summary=tuple(numbers),
        figures=tuple(figures),
        tables=(pairs_table(comparison.pairs, "Units side by side"), changes if differing else nothing),
    )


def pairs_table(pairs: pd.DataFrame, title: str) -> ReportTable:
    """The units of both sortings side by side, what was lost first.

    Parameters
    ----------
    pairs : pd.DataFrame
        `SortingComparison.pairs`.
    title : str
    """
    ranks = pairs["fate"].map({fate: rank for rank, fate in enumerate(_ORDER)})
    pairs = pairs.iloc[ranks.argsort(kind="stable")]
    rows = [_row(values) for _, values in pairs.head(_MOST_ROWS).iterrows()]
    left_out = len(pairs) - len(rows)
    more = f" {left_out:,} further rows are in the asset's table." if left_out else ""
    known = [index for index in range(len(_COLUMNS)) if index < _ALWAYS or any(row[index] for row in rows)]
    columns = tuple(_COLUMNS[index] for index in known)
    return ReportTable(title, columns, tuple(tuple(row[index] for index in known) for row in rows), f"{_MEANING}{more}")


def comparison_table(pairs: pd.DataFrame, title: str, words: str) -> ReportTable:
    """The section of a recording's report: the units that were not kept, with the result in words.

    Parameters
    ----------
    pairs : pd.DataFrame
        `SortingComparison.pairs`.
    title, words : str
    """
    table = pairs_table(pairs[pairs["fate"] != "kept"], title)
    return replace(table, caption=f"{words} {table.caption}")


def draw_comparison(comparison: SortingComparison, folder: Path) -> list[ReportFigure]:
    """Draw the figures of a comparison into a folder, for `comparison_content`."""
    from sort_assets import figures

    drawn = {
        "fates": figures.draw_fates(comparison.counts),
        "agreement": figures.draw_agreement(comparison.pairs, MATCH),
    }
    return [
        ReportFigure(name, name.capitalize(), CAPTIONS[name], figures.save(figure, folder / f"{name}.png"))
        for name, figure in drawn.items()
    ]


def comparisons_content(table: pd.DataFrame, *, headline: str, versions: str, folder: Path) -> ReportContent:
    """What the page of comparisons of many recordings says.

    Parameters
    ----------
    table : pd.DataFrame
        Index key of the recording; columns as `comparisons_report_table` shows them.
    headline : str
        The result in a sentence.
    versions : str
        Which sortings were compared, in words.
    folder : Path
        The figure is drawn into it.
    """
    from sort_assets.figures import draw_fates_by_recording, save

    figure = save(draw_fates_by_recording(table), folder / "fates_by_recording.png")
    caption = "Units of the earlier sorting by what became of them; of many recordings, those that kept least."
    return ReportContent(
        title="What became of the units",
        recording_key=versions,
        subject="Sortings",
        written_at=datetime.now(UTC),
        headline=headline,
        figures=(ReportFigure("fates_by_recording", "Recordings", caption, figure),),
        tables=(comparisons_report_table(table),),
    )


def comparisons_report_table(table: pd.DataFrame) -> ReportTable:
    """Comparisons of many recordings, a row each, in the order of the table.

    Parameters
    ----------
    table : pd.DataFrame
        Index key of the recording; columns `units_before`, `units_now`, one for each fate, `judged`,
        `persisting` and `median_agreement`.
    """
    rows = [
        (
            str(key),
            f"{row['units_before']} / {row['units_now']}",
            *(str(row[fate]) for fate in FATES),
            f"{row['persisting']} of {row['judged']}",
            _number(row["median_agreement"], ".2f"),
        )
        for key, row in table.to_dict("index").items()
    ]
    columns = ("Recording", "Units", *map(str.capitalize, FATES), "Still there", "Agreement")
    caption = (
        "Units: before / now. Still there: of the units that curation had kept, those that are kept, moved, or whole "
        "but for a fifth. Agreement: median over the units before."
    )
    return ReportTable("Recordings", columns, tuple(rows), caption)


def _row(pair: pd.Series) -> tuple[str, ...]:
    nearest = "" if _missing(pair["best_match"]) else f" ({pair['best_match']})"
    return (
        str(pair["fate"]),
        _text(pair["old_unit"]) or f"–{nearest}",
        _text(pair["new_unit"]) or f"–{nearest}",
        _number(pair["agreement"], ".2f"),
        _both(pair, "rate_hz", ".3g"),
        _both(pair, "amplitude_uv", ".3g"),
        _both(pair, "channel", ""),
        _number(pair["distance_um"], ".1f"),
        _number(pair["template_similarity"], ".2f"),
    )


def _both(pair: pd.Series, name: str, form: str) -> str:
    sides = [pair[f"old_{name}"], pair[f"new_{name}"]]
    if all(map(_missing, sides)):
        return ""
    return " / ".join("–" if _missing(side) else format(side, form) for side in sides)


def _number(value: object, form: str) -> str:
    return "" if _missing(value) else format(value, form)


def _text(value: object) -> str:
    return "" if _missing(value) else str(value)


def _missing(value: object) -> bool:
    import pandas as pd

    return bool(pd.isna(value))  # type: ignore[call-overload]
