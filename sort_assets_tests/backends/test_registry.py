import os
import subprocess
import sys
from pathlib import Path

import pytest

from sort_assets.backends import BackendEntry, backend_class, create_backend, registered_backends
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SorterNotInstalledError, UnknownSorterError

HEAVY = ("spikeinterface", "kilosort", "torch", "mountainsort5", "numba", "hdbscan", "sklearn")


def run_python(code: str, *, also_on_path: Path | None = None) -> str:
    environment = dict(os.environ)
    if also_on_path is not None:
        environment["PYTHONPATH"] = str(also_on_path)
    completed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


@pytest.fixture
def third_party_package(tmp_path: Path) -> Path:
    """A folder that holds an installed package with a backend, as pip would leave it."""
    (tmp_path / "their_sorter.py").write_text(
        "from sort_assets.backends import SorterBackend\n\n\n"
        "class TheirBackend(SorterBackend):\n"
        '    name = "theirs"\n'
        "    load_recording = sort = extract_waveforms = None\n"
    )
    description = tmp_path / "their_sorter-1.0.dist-info"
    description.mkdir()
    (description / "METADATA").write_text("Metadata-Version: 2.1\nName: their-sorter\nVersion: 1.0\n")
    (description / "entry_points.txt").write_text(
        "[sort_assets.backends]\n"
        "theirs = their_sorter:TheirBackend\n"
        "broken = their_sorter_that_is_gone:Backend\n"
        "kilosort4 = their_sorter:TheirBackend\n"
    )
    return tmp_path


def test_listing_the_backends_imports_no_sorter() -> None:
    imported = run_python(
        "import sys\n"
        "from sort_assets.backends import registered_backends\n"
        "[entry.missing_packages() for entry in registered_backends().values()]\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    assert imported == "[]"


@pytest.mark.parametrize("name", ["kilosort4", "spykingcircus2", "tridesclous2", "lupin", "mountainsort5"])
def test_our_backends_are_registered_under_their_own_names(name: str) -> None:
    backend = create_backend(SortingPipelineConfig.model_validate({"sorter": {"name": name}}))

    assert isinstance(backend, SpikeInterfaceBackend)
    assert backend.name == name


@pytest.mark.parametrize("name", registered_backends())
def test_what_a_backend_needs_is_installed_here(name: str) -> None:
    registered_backends()[name].require_packages()


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownSorterError, match=r"'kilosort5'.*kilosort4, lupin, mountainsort5"):
        backend_class("kilosort5")


def test_a_backend_of_another_package_is_found_by_its_entry_point(third_party_package: Path) -> None:
    found = run_python(
        "from sort_assets.backends import backend_class\nprint(backend_class('theirs').name)",
        also_on_path=third_party_package,
    )

    assert found == "theirs"


def test_another_package_can_not_replace_our_backend(third_party_package: Path) -> None:
    found = run_python(
        "from sort_assets.backends import backend_class\nprint(backend_class('kilosort4').__name__)",
        also_on_path=third_party_package,
    )

    assert found == "Kilosort4Backend"


def test_a_backend_that_can_not_be_imported_is_reported_with_its_name(third_party_package: Path) -> None:
    error = run_python(
        "from sort_assets.backends import backend_class\n"
        "from sort_assets.errors import SorterNotInstalledError\n"
        "try:\n"
        "    backend_class('broken')\n"
        "except SorterNotInstalledError as error:\n"
        "    print(error)",
        also_on_path=third_party_package,
    )

    assert "'broken'" in error
    assert "their_sorter_that_is_gone" in error


def test_a_missing_package_is_reported_with_how_to_install_it() -> None:
    entry = BackendEntry("far", "far:Far", requires=("json", "no_such_package"), install_hint="pip install far-sorter")

    with pytest.raises(SorterNotInstalledError, match="no_such_package can't be found") as failure:
        entry.require_packages()

    assert failure.value.remedy == "Run: pip install far-sorter"
