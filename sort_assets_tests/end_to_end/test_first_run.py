"""The first hour on a machine whose card the usual build of torch can't use: the demo says so, and the cure works."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sort_assets_tests.fixtures.fake_driver import A4000, FakeDriver
from sort_assets_tests.fixtures.home import CHECKOUT, Home

pytestmark = [pytest.mark.release]


def test_the_demo_names_card_driver_reason_and_cure(home: Home, driver: FakeDriver) -> None:
    driver.answer(f"{A4000};driver=550.54.14;cuda=12040", driver=12040)

    done = home.command("sort-assets", "demo")

    assert done.status != 0
    assert "NVIDIA RTX A4000 (driver 550.54.14, compute capability 8.6)" in done.output
    assert "needs CUDA 13.0, and the driver knows CUDA 12.4 only" in done.output
    assert "make TORCH_BUILD=cu126" in done.output
    assert ".." not in done.output.split("DemoFailedError", 1)[1]


def test_make_replaces_the_build_of_torch_by_the_one_that_is_asked_for_and_keeps_it(tmp_path: Path) -> None:
    # Wheels of some hundred bytes stand for torch, which weighs gigabytes; pip, make and the Makefile are real.
    version = next(
        line.removeprefix("torch==")
        for line in (CHECKOUT / "constraints.txt").read_text().splitlines()
        if line.startswith("torch==")
    )
    pypi, pytorch, checkout = (tmp_path / name for name in ("pypi", "pytorch", "checkout"))
    write_wheel(pypi / "torch", version)
    write_wheel(pytorch / "cu126" / "torch", f"{version}+cu126")
    checkout.mkdir()
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, checkout)
    subprocess.run([sys.executable, "-m", "venv", checkout / ".venv"], check=True)
    pip = [checkout / ".venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "VIRTUAL"))},
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": pypi.as_uri(),
    }

    def run(*words: str | Path) -> str:
        return subprocess.run(
            list(map(str, words)), cwd=checkout, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run(*pip, "install", "--constraint", "constraints.txt", "torch")
    (checkout / ".venv/.installed").touch()

    run("make", "TORCH_BUILD=cu126", f"PYTORCH_INDEX={pytorch.as_uri()}", "install")
    assert f"torch {version}+cu126" in " ".join(run(*pip, "list").split())

    run(*pip, "install", "--constraint", "constraints.txt", "torch")  # as the Makefile does without a build
    assert f"torch {version}+cu126" in " ".join(run(*pip, "list").split())
    assert "Nothing to be done" in run("make", "install")


def write_wheel(folder: Path, version: str) -> None:
    """A package index's page, and behind it a wheel of torch in which nothing is."""
    folder.mkdir(parents=True)
    name = f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.writestr("torch/__init__.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"torch/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    (folder / "index.html").write_text(f'<a href="{name.replace("+", "%2B")}">{name}</a>')
