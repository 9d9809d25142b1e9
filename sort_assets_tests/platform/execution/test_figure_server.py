"""The figure server: figures and reports, and nothing else of the store."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets.platform.execution.figure_server import FigureServer
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.store import Store
from sort_assets_tests.fixtures.ports import free_port, wait_for_port

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    store = Store(tmp_path / "store")
    with store.stage("mouse~day.nwb@w1", "sorting", run_id="r") as staging:
        (staging.figures / "raster.png").write_bytes(PNG)
        (staging.figures / "report.html").write_text("<p>5 µm</p>", encoding="utf-8")
        (staging.path / "inside.html").write_text("not a figure", encoding="utf-8")
        (staging.path / "secret.npy").write_bytes(b"spikes")
        (staging.figures / "notes.txt").write_bytes(b"text")
        (staging.figures / "link.png").symlink_to(tmp_path / "outside.png")
        (staging.figures / "link.html").symlink_to(tmp_path / "outside.html")
        artefact = staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())
    (tmp_path / "outside.png").write_bytes(PNG)
    (tmp_path / "outside.html").write_text("outside", encoding="utf-8")
    port = free_port()
    with FigureServer(store.root, port):
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}", f"mouse~day.nwb@w1/sorting/{artefact.manifest.version}"


def _status(url: str) -> int:
    try:
        return urllib.request.urlopen(url).status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_figure_is_served(served: tuple[str, str]) -> None:
    server, artefact = served

    with urllib.request.urlopen(f"{server}/{artefact}/figures/raster.png") as response:
        assert response.read() == PNG
        assert response.headers["content-type"] == "image/png"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_a_report_is_served_as_a_page_that_can_run_no_script_and_load_nothing(served: tuple[str, str]) -> None:
    server, artefact = served

    with urllib.request.urlopen(f"{server}/{artefact}/figures/report.html") as response:
        assert response.read().decode("utf-8") == "<p>5 µm</p>"
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"
        policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", "frame-ancestors 'none'"} <= set(policy)
    assert "sandbox" in policy
    assert not any(directive.startswith(("script-src", "connect-src")) for directive in policy)


@pytest.mark.parametrize(
    "rest",
    [
        "secret.npy",
        "manifest.json",
        "inside.html",
        "figures/notes.txt",
        "figures/report.html.png",
        "figures/report.HTML",
        "figures/../inside.html",
        "figures/../manifest.json",
        "figures/link.png",
        "figures/link.html",
        "figures/",
    ],
)
def test_nothing_else_is_served(served: tuple[str, str], rest: str) -> None:
    server, artefact = served

    assert _status(f"{server}/{artefact}/{rest}") == 404


@pytest.mark.parametrize("path", ["", "..%2F..%2Fetc/x/y/figures/a.png", "%2e%2e/sorting/x/figures/outside.png"])
def test_no_path_leads_out_of_the_store(served: tuple[str, str], path: str) -> None:
    assert _status(f"{served[0]}/{path}") == 404


def test_nothing_can_be_written(served: tuple[str, str]) -> None:
    server, artefact = served
    request = urllib.request.Request(f"{server}/{artefact}/figures/raster.png", data=b"x", method="PUT")

    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request)
