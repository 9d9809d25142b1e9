"""Packages are stood in for by their metadata, in a folder that Python searches before the real ones."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sort_assets.checks.result import CheckResult
from sort_assets.errors import IncompatibleVersionsError
from sort_assets.machine.torch_build import torch_cuda_version
from sort_assets.machine.versions import inspect_maxwell_plugin, inspect_versions

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes packages look installed in the given versions."""

    def install(**versions: str) -> None:
        for package, version in versions.items():
            info = tmp_path / f"{package}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def _levels(results: list[CheckResult]) -> list[str]:
    return [result.level for result in results]


def test_the_versions_of_this_installation_work_together() -> None:
    assert _levels(inspect_versions()) == ["ok"]


@pytest.mark.parametrize(
    ("kilosort", "numpy", "levels"),
    [
        ("4.0.37", "2.3.5", ["error"]),
        ("4.1.0", "2.3.5", ["error", "warning"]),
        ("4.1.2", "2.3.5", ["warning"]),
        ("4.1.3", "2.3.5", ["ok"]),
        ("4.1.6", "2.3.5", ["ok"]),
        ("4.1.6", "2.4.0", ["error"]),
        ("4.1.7", "2.4.0", ["ok"]),
        ("4.1.10", "2.10.0", ["ok"]),
    ],
)
def test_versions_of_kilosort_that_break_are_known(
    kilosort: str, numpy: str, levels: list[str], install: Install
) -> None:
    install(kilosort=kilosort, numpy=numpy)

    assert _levels(inspect_versions("kilosort4")) == levels


def test_what_is_wrong_is_said_with_the_installed_versions_and_the_cure(install: Install) -> None:
    install(kilosort="4.1.5", numpy="2.4.1")

    (result,) = inspect_versions("kilosort4")

    assert isinstance(result.error, IncompatibleVersionsError)
    assert "installed: kilosort 4.1.5, numpy 2.4.1" in str(result.error)
    assert "pip install" in result.error.remedy


def test_another_sorter_does_not_mind(install: Install) -> None:
    install(kilosort="4.0.30", numpy="2.4.1")

    assert _levels(inspect_versions("mountainsort5")) == ["ok"]
    assert _levels(inspect_versions()) == ["error"]


@pytest.fixture
def torch_built_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a torch first on Python's path that can't be imported, with the given line in its version.py."""

    def write(line: str) -> None:
        folder = tmp_path / "torch"
        folder.mkdir()
        (folder / "__init__.py").write_text("raise AssertionError('torch was imported')\n")
        (folder / "version.py").write_text(f"from typing import Optional\n__version__ = '2.9.0'\n{line}\n")
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        monkeypatch.syspath_prepend(tmp_path)

    return write


@pytest.mark.parametrize(
    ("line", "cuda"),
    [
        ("cuda: Optional[str] = '12.8'", "12.8"),
        ("cuda = '11.8'", "11.8"),
        ("cuda: Optional[str] = None", None),
    ],
)
def test_the_build_of_torch_is_read_without_importing_it(
    line: str, cuda: str | None, torch_built_with: Callable[[str], None]
) -> None:
    torch_built_with(line)

    assert torch_cuda_version() == cuda


def test_the_build_of_the_real_torch_is_read_right() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.version.cuda)"], capture_output=True, text=True, check=True
    )

    assert str(torch_cuda_version()) == asked.stdout.strip()


@pytest.mark.parametrize("present", [True, False])
def test_the_plugin_for_maxwell_is_looked_for_where_hdf5_does(present: bool, tmp_path: Path) -> None:
    if present:
        (tmp_path / "libcompression.so").touch()
    code = "from sort_assets.machine.versions import *; print(inspect_maxwell_plugin()[0].description)"

    asked = subprocess.run(
        [sys.executable, "-c", code],
        # HDF5 reads it when it is loaded.
        env={"HDF5_PLUGIN_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert asked.stdout.startswith(f"{'' if present else 'no '}libcompression.so in {tmp_path}")


def test_a_missing_plugin_is_no_fault_of_an_installation_that_needs_none() -> None:
    assert _levels(inspect_maxwell_plugin()) == ["ok"]
