"""The check of a machine with a GPU (`benchmarks/gpu_check.sh`) keeps up with the code, and its rehearsal runs.

What needs a GPU is left out by the rehearsal: nothing here says that it works.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sort_assets_tests.fixtures.fake_driver import A4000, FakeDriver

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CHECK, PREPARE = BENCHMARKS / "gpu_check.sh", BENCHMARKS / "gpu_check_prepare.sh"
PARTS = sorted((BENCHMARKS / "gpu_check").glob("*.py"))


def rehearse(folder: Path, only: str = "", limit_s: float = 800) -> str:
    """What the rehearsal prints, of some sections or of all."""
    environment = {
        **os.environ,
        "DRY": "1",
        "ONLY": only,
        "PY": sys.executable,
        "TMPDIR": str(folder),
        "OUT": str(folder / "out"),
        "BUDGET": str(int(limit_s)),
    }
    done = subprocess.run(
        ["bash", str(CHECK)], env=environment, capture_output=True, text=True, timeout=limit_s + 60, check=False
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-3000:]
    assert "Traceback" not in printed, printed[-6000:]
    assert (folder / "out/log.txt").is_file()
    return printed


@pytest.mark.parametrize("script", [CHECK, PREPARE], ids=lambda path: path.name)
def test_the_scripts_are_valid(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_each_part_is_used_and_each_that_is_used_is_there() -> None:
    started = set(re.findall(r"\$PARTS/(\w+\.py)", CHECK.read_text()))

    assert started | {"work.py"} == {path.name for path in PARTS}  # watchdogs.py starts that


@pytest.mark.parametrize("part", PARTS, ids=lambda path: path.name)
def test_what_a_part_imports_of_us_is_there(part: Path) -> None:
    """Half of the parts run nowhere without a GPU, and would not notice that a module has moved."""
    for node in ast.walk(ast.parse(part.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sort_assets"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")


def test_the_tests_that_it_asks_are_there() -> None:
    asked = re.findall(r"\$tests/([\w/.]+)", CHECK.read_text())

    assert len(asked) > 4
    assert [path for path in asked if not (Path(__file__).parent / path).exists()] == []


def test_a_card_says_what_it_is_and_whether_cuda_starts(driver: FakeDriver) -> None:
    driver.answer(A4000, driver=13000, capability="86")

    command = [sys.executable, str(BENCHMARKS / "gpu_check/machine.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert "NVIDIA RTX A4000" in done.stdout
    assert "memory (" in done.stdout
    assert "usable for sorting: yes" in done.stdout


@pytest.mark.release
@pytest.mark.slow
def test_its_rehearsal_looks_at_the_machine(tmp_path: Path) -> None:
    printed = rehearse(tmp_path, only="1")

    assert "== 1 machine, doctor" in printed
    assert re.search(r"ok\s+kilosort", printed)
    assert "== 2" not in printed


@pytest.mark.slow
@pytest.mark.release
def test_its_whole_rehearsal_sorts_and_measures(tmp_path: Path) -> None:
    printed = rehearse(tmp_path)

    assert re.search(r"units found +\d of 8|\d of 8", printed)
    assert "the same clusters" in printed
    assert printed.count("job a: 0") == printed.count("job b: 0") == 1
    assert len(re.findall(r"np~[ab]\.dat: \d+ units, \d+ spikes on CPU", printed)) == 2
    assert "== end" in printed
