"""The documentation: it builds without a warning and without the network, and what it names exists."""

import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from sort_assets_tests.docs.pages import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(values["href"])
        elif "src" in values:
            self.loaded.append(values["src"])

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("index", "make demo"),
        ("architecture", "manifest.json"),
        ("operation", "systemd"),
        ("api", "SorterBackendConformance"),
        ("reference/configuration", "oom_retry_max"),
        ("reference/environment", "SORT_ASSETS_STORE"),
        ("reference/troubleshooting", "DiskFullError"),
    ],
)
def test_the_page_is_there(site: Path, pages: dict[Path, _Page], name: str, said: str) -> None:
    assert said in pages[site / f"{name}.html"].text


def test_every_link_within_the_site_leads_somewhere(pages: dict[Path, _Page]) -> None:
    broken = [f"{path.name}: {link}" for path, page in pages.items() for link in _broken(path, page, pages)]
    assert not broken


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, _Page]) -> None:
    assert not [url for page in pages.values() for url in page.loaded if urlsplit(url).netloc]


def _broken(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for link in (*page.links, *page.loaded):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path not in ("", ".") else path
        anchors = pages[target].ids if target in pages else set()
        if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in anchors):
            yield link
