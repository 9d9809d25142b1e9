"""What the operating system refuses, as Python really meets it where that can be done here."""

import ast
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets import errors
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import (
    DiskFullError,
    HostOutOfMemoryError,
    SortAssetsError,
    StalledIoError,
    StorageError,
    os_failure,
)
from sort_assets.platform.cli import main

SOURCES = sorted(Path(errors.__file__).parent.rglob("*.py"))
SECTIONS = {name: field.annotation for name, field in SortingPipelineConfig.model_fields.items()}
KINDS = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.ENOMEM: HostOutOfMemoryError,
    errno.EROFS: StorageError,
    errno.EACCES: StorageError,
    errno.EPERM: StorageError,
    errno.EMFILE: StorageError,
    errno.ENFILE: StorageError,
    errno.ENOLCK: StorageError,
    errno.EIO: StalledIoError,
    errno.ESTALE: StalledIoError,
}


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.get)
def test_a_number_becomes_its_class(number: int) -> None:
    error = OSError(number, os.strerror(number), "/store/recording.dat")

    failure = os_failure(error, "writing")

    assert type(failure) is KINDS[number]
    assert failure.stage == "writing"
    assert failure.remedy
    assert os.strerror(number) in failure.message
    assert failure.diagnostics == {"path": "/store/recording.dat", "errno": errno.errorcode[number]}


def test_a_full_disk_is_told_from_a_broken_one() -> None:
    with pytest.raises(OSError, match="No space") as full, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"\0")
    with pytest.raises(OSError, match="Input/output") as broken:
        Path("/proc/self/mem").read_bytes()

    failures = [os_failure(raised.value, None) for raised in (full, broken)]

    assert [type(failure) for failure in failures] == [DiskFullError, StalledIoError]


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "no such file"), OSError("without a number")])
def test_what_says_nothing_of_the_machine_is_no_failure_of_it(error: OSError) -> None:
    assert os_failure(error, "writing") is None


def test_the_failure_survives_the_way_to_another_process() -> None:
    failure = os_failure(OSError(errno.EROFS, os.strerror(errno.EROFS), "/store"), "writing")
    assert failure is not None

    restored = SortAssetsError.from_dict(failure.to_dict())

    assert type(restored) is StorageError
    assert restored.diagnostics == failure.diagnostics


def remedies() -> Iterator[str]:
    """The texts of all remedies, where they stand in the code."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "remedy":
                parts = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                yield "".join(part for part in parts if isinstance(part, str))


def test_the_settings_and_commands_that_remedies_name_exist() -> None:
    texts = [*remedies()]
    fields = {found for text in texts for found in re.findall(rf"\b({'|'.join(SECTIONS)})\.([a-z_0-9]+)", text)}
    commands = {found for text in texts for found in re.findall(r"`sort-assets ([a-z-]+)", text)}

    assert len(texts) > 200
    assert len(fields) > 20
    assert {f"{section}.{name}" for section, name in fields if name not in SECTIONS[section].model_fields} == set()
    assert commands - set(main.commands) == set()


def test_no_remedy_gives_up_what_a_person_did() -> None:
    assert [text for text in remedies() if re.search("export the (curated )?units again", text, re.IGNORECASE)] == []
