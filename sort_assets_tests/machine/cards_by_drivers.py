"""The cards of laboratories by their drivers: what `doctor`, `demo` and a sort of `device: auto` say of each.

    python -m sort_assets_tests.machine.cards_by_drivers

prints the table. The driver, and torch for CUDA 13.0 as PyPI has it, are those of `fixtures/fake_driver.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SortAssetsError
from sort_assets.platform.cli.demo import DemoFailedError
from sort_assets.platform.execution.leases import on_device
from sort_assets.platform.execution.sort_device import sort_device
from sort_assets_tests.fixtures.fake_driver import FakeDriver, build_fake_driver
from sort_assets_tests.fixtures.home import Home, make_home

DRIVERS = {"470.256": 11040, "535.183": 12020, "550.54.14": 12040, "570.86": 12080, "580.95.05": 13000}
"""The newest version of CUDA that a driver knows."""
CU126 = "make TORCH_BUILD=cu126"
TOO_OLD, NO_CODE = "needs CUDA 13.0, and the driver knows CUDA", "has no code for this card, only for 7.5, 8.0,"


@dataclass(frozen=True)
class Row:
    """A card with a driver.

    Attributes
    ----------
    card : str
    capability : tuple of int
        Its compute capability.
    driver : str
        Its version.
    reason : str or None
        Why torch can't compute on it, in words that must occur; None where it can.
    cure : str
        A pattern that occurs in the remedy.
    """

    card: str
    capability: tuple[int, int]
    driver: str
    reason: str | None = None
    cure: str = ""

    @property
    def uuid(self) -> str:
        return f"GPU-{self.card.replace(' ', '-')}"

    def in_slot(self, driver: FakeDriver) -> None:
        """Put the card into the machine."""
        cuda = DRIVERS[self.driver]
        major, minor = self.capability
        card = f"gpu={self.card},{self.uuid},16,1,{major}.{minor}"
        driver.answer(f"{card};driver={self.driver};cuda={cuda}", driver=cuda, capability=f"{major}{minor}")


ROWS = [
    Row("GTX 1080 Ti", (6, 1), "580.95.05", NO_CODE, CU126),
    Row("GTX 1080 Ti", (6, 1), "550.54.14", TOO_OLD, CU126),
    Row("GTX 1080 Ti", (6, 1), "470.256", TOO_OLD, f"driver of version 525 or newer, without which .* Then: .*{CU126}"),
    Row("Titan V", (7, 0), "580.95.05", NO_CODE, CU126),
    Row("V100", (7, 0), "535.183", TOO_OLD, CU126),
    Row("RTX 2080 Ti", (7, 5), "580.95.05"),
    Row("RTX 2080 Ti", (7, 5), "535.183", TOO_OLD, CU126),
    Row("RTX A4000", (8, 6), "580.95.05"),
    Row("RTX A4000", (8, 6), "570.86", TOO_OLD, CU126),
    Row("RTX 4090", (8, 9), "580.95.05"),
    Row("H200", (9, 0), "580.95.05"),
    Row("H100", (9, 0), "550.54.14", TOO_OLD, CU126),
    Row("RTX 5090", (12, 0), "580.95.05"),
    Row("RTX 5090", (12, 0), "570.86", TOO_OLD, "make TORCH_BUILD=cu129"),
    Row("Tesla K80", (3, 7), "470.256", TOO_OLD, "No build of torch 2.13.0 has code for this card"),
]


@dataclass(frozen=True)
class Said:
    """What was said of a card.

    Attributes
    ----------
    doctor : tuple of str
        Level, what was found, remedy.
    doctor_status : int
    demo : str
        Of the card, before the demo starts.
    sort : SortAssetsError or str
        The error that ends the sort, or the device on which Kilosort runs, with its `CUDA_VISIBLE_DEVICES`.
    """

    doctor: tuple[str, str, str]
    doctor_status: int
    demo: str
    sort: SortAssetsError | str


def ask(row: Row, home: Home, driver: FakeDriver) -> Said:
    """Ask the commands, and begin a sort that ends when it has its device."""
    row.in_slot(driver)
    doctor = home.invoke("doctor", "--json")
    (found,) = [one for one in json.loads(doctor.stdout) if one["subject"] == "gpu"]
    return Said((found["level"], found["detail"], found["remedy"]), doctor.status, _of_demo(home), _of_sort(home))


def _of_demo(home: Home) -> str:
    """What the demo says before it starts; its sort is asked in `end_to_end/test_first_run.py`."""

    def stop(*_: object) -> NoReturn:
        raise DemoFailedError("No further.", remedy="")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[DemoFailedError.__module__], "run_demo", stop)
        return home.invoke("demo").output.split("DemoFailedError")[0].strip()


def _of_sort(home: Home) -> SortAssetsError | str:
    with home.environment():
        try:
            with sort_device(SortingPipelineConfig(), uses_gpu=True, log=lambda _: None) as (lease, doubts):
                assert doubts == []
                device = on_device(SortingPipelineConfig(), lease).sorter.device
                # As the sorter's process does.
                code = f"import torch; print((torch.zeros(1, device={device!r}) + 1).item())"
                computed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
                assert computed.stdout == "1.0\n"
                return f"{device}, CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']}"
        except SortAssetsError as error:
            return error


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = Path(folder)
        (place / "built").mkdir()
        built = build_fake_driver(place / "built")
        home = make_home(place / "home")
        for number, row in enumerate(ROWS):
            driver = FakeDriver(built, place / f"rig-{number}", patch)
            said = ask(row, home, driver)
            level, detail, remedy = said.doctor
            print(f"\n## {row.card}, compute capability {'{}.{}'.format(*row.capability)}, driver {row.driver}")
            print(f"doctor: {level} (exit status {said.doctor_status}): {detail}\n  remedy: {remedy or 'none'}")
            print(f"demo: {said.demo or 'nothing; it starts'}")
            end = said.sort if isinstance(said.sort, str) else f"{type(said.sort).__name__}: {said.sort}"
            print(f"sort: {end}")


if __name__ == "__main__":
    main()
