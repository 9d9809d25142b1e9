import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sort_assets.reports import (
    AttentionPoint,
    LineageStep,
    NoUnits,
    Parameter,
    ReportContent,
    ReportFigure,
    ReportTable,
    SummaryNumber,
    UnitColumn,
    UnitRow,
    UnitTable,
    UnitValue,
    write_report,
)

UNITS = UnitTable(
    (UnitColumn("SNR", "at least 5", "Amplitude over noise."),),
    (
        UnitRow("0", "kept", "good", "thresholds", "Meets every criterion.", (UnitValue("9.1"),)),
        UnitRow("a b", "rejected", "rejected", "thresholds", "SNR 3 (at least 5).", (UnitValue("3", failed=True),)),
        UnitRow("7", "kept", "mua", "person", "A person said mua.", (UnitValue(""),)),
    ),
)
CONTENT = ReportContent(
    title="Report of mouse~day",
    recording_key="mouse~day.nwb@w1",
    written_at=datetime(2026, 11, 24, 20, 40, tzinfo=UTC),
    headline="2 of 3 units are kept.",
    attention=(
        AttentionPoint("note", "No age of the subject.", "Name it in the rules file.", "spike_data"),
        AttentionPoint("error", "The check firing_holes failed.", "Look at the raster.", "firing_holes"),
    ),
    summary=(SummaryNumber("Units kept", "2 of 3", "1 rejected"),),
    loading='sort_assets.load("mouse~day.nwb@w1", "curated_units")',
    units=UNITS,
    tables=(ReportTable("Checks", ("Check", "Result"), (("firing_holes", "failed"),)),),
    history=("Thresholds rejected 1 unit.",),
    parameters=(Parameter("curation.min_snr", "5.0", "rules.yaml"), Parameter("sorter.name", "kilosort4")),
    versions={"spikeinterface": "0.105.3"},
    lineage=(LineageStep("sorting", "v-1", "hash-1", "2026-11-24 20:12"),),
)


class Page(HTMLParser):
    """The elements and texts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._hidden += tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


@pytest.fixture
def figure(tmp_path: Path) -> ReportFigure:
    path = tmp_path / "raster.png"
    Image.fromarray(np.zeros((8, 8, 3), dtype="uint8")).save(path)
    return ReportFigure("raster", "Spikes over time", "Each row is a unit.", path)


def test_the_first_screen_says_the_result_and_what_is_wrong_with_the_worst_first(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "report.html", CONTENT))

    expected = (
        "Report of mouse~day",
        "mouse~day.nwb@w1",
        "2026-11-24 20:40 UTC",
        "2 of 3 units are kept.",
        "The check firing_holes failed.",
        "Look at the raster.",
        "No age of the subject.",
        "Units kept",
        "1 rejected",
        "sort_assets.load(",
    )
    places = [page.text.index(text) for text in expected]
    assert places == sorted(places)


def test_every_part_is_on_the_page(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "report.html", CONTENT))

    for text in (
        "Thresholds rejected 1 unit.",
        "rules.yaml",
        "1 more have their default values",
        "hash-1",
        "spikeinterface 0.105.3",
    ):
        assert text in page.text
    assert "SNR 3 (at least 5)." in page.text
    assert "kept (mua)" in page.text
    assert "Decided by: person." in page.text


def test_the_page_needs_no_script_and_nothing_from_elsewhere(tmp_path: Path, figure: ReportFigure) -> None:
    page = Page(write_report(tmp_path / "report.html", replace(CONTENT, figures=(figure,))))

    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    assert all(source.startswith("data:image/png;base64,") for source in page.attributes("src"))
    assert all(target.startswith("#") for target in page.attributes("href"))
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert "url(" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    policies = [attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")


def test_figures_are_within_the_page_with_their_captions(tmp_path: Path, figure: ReportFigure) -> None:
    path = write_report(tmp_path / "report.html", replace(CONTENT, figures=(figure,)))
    size = figure.path.stat().st_size
    figure.path.unlink()

    page = Page(path)
    (source,) = page.attributes("src")
    assert "Spikes over time Each row is a unit." in page.text
    assert len(source) > size
    assert page.attributes("alt") == ["Spikes over time. Each row is a unit."]


def test_every_link_leads_to_a_place_within_the_page(tmp_path: Path, figure: ReportFigure) -> None:
    page = Page(write_report(tmp_path / "report.html", replace(CONTENT, figures=(figure,))))

    places = page.attributes("id")
    assert len(places) == len(set(places))
    assert {target.removeprefix("#") for target in page.attributes("href")} <= set(places)
    assert "unit-a%20b" in places


def test_what_users_wrote_is_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    row = UnitRow(evil, evil, evil, evil, evil, (UnitValue(evil),))
    content = ReportContent(
        title=evil,
        recording_key=evil,
        written_at=CONTENT.written_at,
        headline=evil,
        attention=(AttentionPoint("error", evil, evil, evil),),
        summary=(SummaryNumber(evil, evil, evil),),
        loading=evil,
        figures_left_out={evil: evil},
        units=UnitTable((UnitColumn(evil, evil, evil),), (row,)),
        tables=(ReportTable(evil, (evil,), ((evil,),), evil),),
        history=(evil,),
        parameters=(Parameter(evil, evil, evil), Parameter(evil, evil)),
        versions={evil: evil},
        lineage=(LineageStep(evil, evil, evil, evil),),
        no_units=NoUnits(evil, evil),
    )

    page = Page(write_report(tmp_path / "report.html", content))

    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    # The title of the tab, and twenty more.
    assert page.text.count(evil) > 20


def test_a_recording_without_units_says_why_and_what_to_do(tmp_path: Path) -> None:
    content = ReportContent(
        title="Report of silent",
        recording_key="silent",
        written_at=CONTENT.written_at,
        no_units=NoUnits("No channel ever changes.", "Check the headstage."),
    )

    page = Page(write_report(tmp_path / "report.html", content))

    assert "No channel ever changes." in page.text
    assert "What to do: Check the headstage." in page.text
    assert "Nothing needs attention" not in page.text
    assert not {"table", "img"} & {tag for tag, _ in page.elements}


def test_a_page_without_findings_says_that_nothing_needs_attention(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "report.html", replace(CONTENT, attention=())))

    assert "Nothing needs attention" in page.text


def test_a_figure_that_is_gone_is_named_as_left_out(tmp_path: Path, figure: ReportFigure) -> None:
    figure.path.unlink()

    page = Page(write_report(tmp_path / "report.html", replace(CONTENT, figures=(figure,))))

    assert re.search(r"Spikes over time: Its file could not be read: .*No such file", page.text)
    assert page.attributes("src") == []


def test_a_page_of_500_units_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 330, 3), dtype="uint8")
    figures = []
    for number in range(11):
        # As large as the largest figure may be.
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        figures.append(ReportFigure(str(number), f"Figure {number}", "", tmp_path / f"{number}.png"))
    rows = tuple(
        UnitRow(str(unit), "kept", "good", "thresholds", "Meets every criterion.", (UnitValue("9.1"),) * 9)
        for unit in range(500)
    )
    content = replace(CONTENT, figures=tuple(figures), units=UnitTable((UnitColumn("SNR"),) * 9, rows))

    path = write_report(tmp_path / "report.html", content)

    assert figures[0].path.stat().st_size > 190_000
    assert path.stat().st_size < 5_000_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_shows_the_figures_under_the_pages_own_policy(tmp_path: Path, figure: ReportFigure) -> None:
    Image.fromarray(np.full((300, 660, 3), (255, 0, 255), dtype="uint8")).save(figure.path)
    path = write_report(tmp_path / "report.html", replace(CONTENT, figures=(figure,)))

    subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'browser'}", f"--screenshot={tmp_path / 'shot.png'}",
            "--window-size=1300,2000", path.as_uri(),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip

    with Image.open(tmp_path / "shot.png") as shot:
        pixels = np.asarray(shot.convert("RGB"))
    assert (pixels == (255, 0, 255)).all(axis=2).sum() > 50_000
