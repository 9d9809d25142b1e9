"""The recipe of the image, as far as it can be checked where no image can be built."""

import re
import shlex
import tomllib

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


def test_every_package_of_python_is_pinned_and_torch_comes_first() -> None:
    installs = [words for words in _commands("RUN") if words[:2] == ["pip", "install"]]

    assert all(words[words.index("--constraint") + 1] == "constraints.txt" for words in installs)
    (torch, ours) = (words[-1] for words in installs)
    assert torch == "$TORCH"
    extras = set(ours.removeprefix(".[").removesuffix("]").split(","))
    assert {"postgres", "kubernetes"} <= extras <= set(PROJECT["project"]["optional-dependencies"])


def test_python_is_one_that_the_package_allows_and_jobs_go_through_tini() -> None:
    (base,) = _commands("FROM")

    assert base == ["python:3.11-slim-bookworm"]
    assert PROJECT["project"]["requires-python"].startswith(">=3.11")
    assert 'ENTRYPOINT ["tini", "--"]' in RECIPE  # dagster-k8s gives jobs only arguments
    assert "tini" in next(words for words in _commands("RUN") if "apt-get" in words and "install" in words)
