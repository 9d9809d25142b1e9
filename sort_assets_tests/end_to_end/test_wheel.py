"""The wheel, installed outside of any checkout."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sort_assets_tests.fixtures.home import CHECKOUT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]
LOAD = """
import sys, sort_assets
print(sort_assets.__file__)
print(len(sort_assets.load(sys.argv[1], "curated_units").unit_ids))
"""
OURS = "SORT_ASSETS_", "DAGSTER_", "PYTHONPATH", "VIRTUAL_ENV"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel and the packages that it declares, and nothing else.

    Downloading and unpacking those again would take minutes; they are linked from the environment of the tests.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CHECKOUT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("sort_assets-*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    for package in _needed_by("sort-assets"):
        _link(package, site)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin/python"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", wheel], check=True, env=_environment())
    subprocess.run([*pip, "check"], check=True, env=_environment())
    return environment / "bin"


@pytest.mark.release
def test_a_lab_is_set_up_and_a_recording_sorted_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    _run(installed / "sort-assets", "init", "lab", cwd=tmp_path)

    shown = _run(installed / "sort-assets", "demo", cwd=tmp_path / "lab")

    code = (
        "import sort_assets; print(sort_assets.__file__); print(len(sort_assets.load(KEY, 'curated_units').unit_ids))"
    )
    loaded = _run(installed / "python", "-c", code.replace("KEY", "'demo~ground_truth.nwb'"), cwd=tmp_path / "lab")
    where, kept = loaded.splitlines()
    assert Path(where).is_relative_to(installed.parent)
    assert "8 of 8" in shown
    assert int(kept) == 8
    assert not (tmp_path / ".env").exists()


def test_a_lab_is_set_up_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    _run(installed / "sort-assets", "init", "lab", cwd=tmp_path)

    status = _run(installed / "sort-assets", "status", "--json", cwd=tmp_path / "lab")

    assert status.strip() == "[]"
    assert not (tmp_path / ".env").exists()


def test_the_wheel_holds_every_file_of_the_package_settings_types_and_no_tests(installed: Path) -> None:
    (package,) = installed.parent.glob("lib/python*/site-packages/sort_assets")

    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT / "sort_assets", capture_output=True, check=True)
    ours = [name for name in listed.stdout.decode().split("\0") if name]
    assert [name for name in ours if not (package / name).is_file()] == []
    assert len(ours) > 200
    assert (package / "py.typed").is_file()
    assert (package / "platform/execution/dagster.yaml").read_text() == (CHECKOUT / "dagster.yaml").read_text()
    assert (package / "platform/execution/workspace.yaml").is_file()
    assert not (package.parent / "sort_assets_tests").exists()


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    """That of a user who has never seen the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def _needed_by(name: str) -> Iterator[Distribution]:
    """The installed packages that a package needs, those that they need, and so on."""
    seen, waiting = {name}, [Requirement(name)]
    while waiting:
        wanted = waiting.pop()
        for text in distribution(wanted.name).requires or ():
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            if (needed.name.lower(), *sorted(needed.extras)) in seen:
                continue
            seen.add((needed.name.lower(), *sorted(needed.extras)))
            try:
                yield distribution(needed.name)
            except PackageNotFoundError:
                continue  # pip check says whether that matters
            waiting.append(needed)


def _link(package: Distribution, site: Path) -> None:
    """Link a package's files, and what Python and numba have compiled of them: to compile it again takes minutes."""
    folder = Path(str(package.locate_file("")))
    files = [Path(file) for file in package.files or () if ".." not in file.parts]
    parents = {file.parent for file in files}
    kept = [path.relative_to(folder) for parent in parents for path in folder.glob(f"{parent}/__pycache__/*")]
    for file in [*files, *kept]:
        source, target = folder / file, site / file
        if target.exists() or not source.is_file():
            continue  # what two packages share
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)
