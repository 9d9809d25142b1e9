"""The recipe of the image, as far as it can be checked where no image can be built."""

import re
import shlex
import subprocess
import tomllib

import pytest

from sort_assets_tests.fixtures.home import CHECKOUT
from sort_assets_tests.platform.engines.kubernetes.settings_file import EXAMPLES

RECIPE = re.sub(r"\\\n\s*", "", (EXAMPLES / "Dockerfile").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def _commands(instruction: str) -> list[list[str]]:
    lines = re.findall(rf"^{instruction} (.*)$", RECIPE, re.MULTILINE)
    return [shlex.split(command) for line in lines for command in line.split("&&")]


def test_what_is_copied_is_there_and_is_all_that_the_package_is_built_from() -> None:
    copied = {name for words in _commands("COPY") for name in words[:-1]}

    assert all((CHECKOUT / name).exists() for name in copied)
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {*included, PROJECT["project"]["readme"], "pyproject.toml", "sort_assets"} <= copied


def test_every_package_of_python_is_pinned() -> None:
    installs = [words for words in _commands("RUN") if words[:2] == ["pip", "install"]]

    assert all(words[words.index("--constraint") + 1] == "constraints.txt" for words in installs)
    extras = set(installs[-1][-1].removeprefix(".[").removesuffix("]").split(","))
    assert {"postgres", "kubernetes"} <= extras <= set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize(("build", "asked"), [("", "torch"), ("cu126", "torch=={}+cu126")])
def test_torch_comes_first_and_as_the_build_that_is_asked_for(build: str, asked: str) -> None:
    (install, *_) = (line for line in RECIPE.splitlines() if line.startswith("RUN pip"))
    command = install.removeprefix("RUN").split("&&")[0].replace("pip install", "printf '%s\n'")

    words = subprocess.run(  # by the shell of the image
        ["/bin/sh", "-c", command], env={"TORCH_BUILD": build}, cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()

    pinned = re.search(r"^torch==(.*)$", (CHECKOUT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert words[-1] == asked.format(pinned[1])
    assert ("https://download.pytorch.org/whl/cu126" in words) is bool(build)


def test_python_is_one_that_the_package_allows_and_jobs_go_through_tini() -> None:
    (base,) = _commands("FROM")

    assert base == ["python:3.11-slim-bookworm"]
    assert PROJECT["project"]["requires-python"].startswith(">=3.11")
    assert 'ENTRYPOINT ["tini", "--"]' in RECIPE  # dagster-k8s gives jobs only arguments
    assert "tini" in next(words for words in _commands("RUN") if "apt-get" in words and "install" in words)
