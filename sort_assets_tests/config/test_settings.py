"""The environment variables: one model knows them all, and what they hold that is secret stays so."""

import re
import subprocess
from pathlib import Path

import pytest

from sort_assets.config import settings
from sort_assets.config.settings import (
    NOTIFY_VARIABLE,
    RECORDINGS_VARIABLE,
    SCAN_INTERVAL_VARIABLE,
    STORE_VARIABLE,
    Environment,
    Roots,
    read_environment,
)
from sort_assets.errors import InstanceError

PROJECT = Path(__file__).parents[2]
TREES = ("sort_assets", "benchmarks", "docs", "README.md", "Makefile", "dagster.yaml", "workspace.yaml")
VARIABLES = {str(field.validation_alias) for field in Environment.model_fields.values()}


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_every_variable_that_occurs_in_the_tree_is_a_field() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *TREES], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    files = [PROJECT / name for name in listed.split("\0") if name]
    texts = [file.read_bytes().decode("utf-8", "ignore") for file in files if file.is_file()]

    named = {name for text in texts for name in re.findall(r"\bSORT_ASSETS_[A-Z_]*[A-Z]\b", text)}

    assert len(files) > 100
    assert named == VARIABLES - {"DAGSTER_HOME"}


def test_every_field_says_what_it_is() -> None:
    assert all(str(field.description).endswith(".") for field in Environment.model_fields.values())
    constants = {value for name, value in vars(settings).items() if name.endswith("_VARIABLE")}
    assert constants == VARIABLES


def test_the_environment_is_read_when_it_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_environment() == Environment.model_construct()

    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path))
    monkeypatch.setenv(SCAN_INTERVAL_VARIABLE, "5")

    assert read_environment().store == tmp_path
    assert read_environment().scan_interval_s == 5


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCAN_INTERVAL_VARIABLE, "")
    monkeypatch.setenv(STORE_VARIABLE, "")

    assert read_environment().scan_interval_s == 30
    assert read_environment().store is None


@pytest.mark.parametrize("value", ["soon", "0", "1.5"])
def test_a_value_that_cannot_be_used_is_an_error_that_names_the_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCAN_INTERVAL_VARIABLE, value)
    monkeypatch.setenv(NOTIFY_VARIABLE, "mailtos://user:password@lab.org")

    with pytest.raises(InstanceError, match=SCAN_INTERVAL_VARIABLE) as error:
        read_environment()

    assert "password" not in str(error.value)
    assert error.value.__cause__ is None


def test_the_notification_urls_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NOTIFY_VARIABLE, "mailtos://user:password@lab.org")

    environment = read_environment()

    assert environment.notify.get_secret_value() == "mailtos://user:password@lab.org"
    assert "password" not in f"{environment} {environment!r} {environment.model_dump()} {environment.model_dump_json()}"


def test_the_folders_must_be_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(RECORDINGS_VARIABLE, str(tmp_path / "recordings"))
    with pytest.raises(InstanceError, match=f"{STORE_VARIABLE} is not set"):
        Roots.from_environment()

    monkeypatch.setenv(STORE_VARIABLE, "store")
    with pytest.raises(InstanceError, match=f"{STORE_VARIABLE} is 'store', which is not absolute"):
        Roots.from_environment()

    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "store"))
    assert Roots.from_environment() == Roots(tmp_path / "recordings", tmp_path / "store")
