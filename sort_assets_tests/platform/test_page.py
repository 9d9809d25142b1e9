"""What a person sees: the page of an asset, in a real browser, with its pictures in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from sort_assets.execution.home import open_instance, prepare_home
from sort_assets.partitions import RECORDINGS_PARTITIONS
from sort_assets.storage import Store
from sort_assets_tests.ports import free_port, wait_for_port

REPOSITORY = Path(__file__).parents[2]
COLOUR = (255, 0, 255)
BROWSER_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture
def chromium() -> str:
    """The browser; without one the test is skipped, or fails where everything must run."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        missing = "no chromium: `apt-get install chromium`"
        (pytest.fail if os.environ.get("SORT_ASSETS_REQUIRE_ALL") else pytest.skip)(missing)
    return found


@pytest.mark.slow
def test_a_figure_shows_in_the_page_of_its_asset(
    chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, figure_port = free_port(), free_port()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SORT_ASSETS_RECORDINGS", str(tmp_path / "recordings"))
    monkeypatch.setenv("SORT_ASSETS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SORT_ASSETS_FIGURES_URL", f"http://127.0.0.1:{figure_port}")
    monkeypatch.chdir(REPOSITORY)
    roots = prepare_home()
    with Store(roots.store).stage("day.nwb", "sorting", run_id="r") as staging:
        Image.new("RGB", (400, 100), COLOUR).save(staging.figures / "raster.png")
        artefact = staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details={})
    address = f"{roots.figures_url}/day.nwb/sorting/{artefact.manifest.version}/figures/raster.png"
    with open_instance() as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, ["day.nwb"])
        metadata = {"raster": dg.MetadataValue.md(f"![raster]({address})")}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key="sorting", partition="day.nwb", metadata=metadata)
        )

    servers = subprocess.Popen([str(Path(sys.executable).with_name("sort-assets")), "up", "--port", str(port)])
    try:
        wait_for_port(port)
        page = f"http://127.0.0.1:{port}/assets/sorting?view=partitions&partition=day.nwb"
        shot = tmp_path / "page.png"
        subprocess.run(
            [
                *(chromium, *BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,1000"),
                *("--virtual-time-budget=30000", f"--screenshot={shot}", page),
            ],
            check=True,
            capture_output=True,
            timeout=180,
        )
    finally:
        servers.terminate()
        servers.wait(timeout=60)

    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert (pixels == COLOUR).all(axis=-1).sum() == 400 * 100
