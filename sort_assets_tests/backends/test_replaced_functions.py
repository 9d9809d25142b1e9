"""Functions of Kilosort are exchanged only where they are the ones that the replacement was written for."""

import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from sort_assets.backends.kilosort4.replaced_functions import Replacement, replaced, source_digest

MODULE = "some_clustering"
OTHERWISE = "It takes more memory."


def add(first: int, second: int) -> int:
    return first + second


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands for a module of Kilosort, whose other versions can't be installed beside this one."""
    found = ModuleType(MODULE)
    vars(found).update(add=add, double=double)
    monkeypatch.setitem(sys.modules, MODULE, found)
    return found


def negative(function: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: -function(*args)


ADD = Replacement(MODULE, "add", ("first", "second"), negative, source_sha256=source_digest(add))
DOUBLE = Replacement(MODULE, "double", ("number",), negative)


def test_known_functions_are_exchanged_and_put_back(module: Any) -> None:
    with replaced(ADD, DOUBLE, otherwise=OTHERWISE) as exchanged:
        assert exchanged
        assert (module.add(1, 2), module.double(3)) == (-3, -6)

    assert (module.add, module.double) == (add, double)


def test_after_an_error_they_are_put_back_as_well(module: Any) -> None:
    with pytest.raises(RuntimeError), replaced(ADD, DOUBLE, otherwise=OTHERWISE):
        raise RuntimeError

    assert (module.add, module.double) == (add, double)


@pytest.mark.parametrize(
    "changed",
    [
        {"add": lambda first, second, third=0: first + second + third},  # another parameter
        {"add": lambda first, second: first - second},  # the same parameters, another source
        {"double": lambda numbers: 2 * numbers},
        {"add": None},
    ],
)
def test_another_function_is_left_alone_with_all_others_and_a_warning(
    changed: dict[str, Any], module: Any, caplog: pytest.LogCaptureFixture
) -> None:
    vars(module).update(changed)

    with caplog.at_level(logging.WARNING), replaced(ADD, DOUBLE, otherwise=OTHERWISE) as exchanged:
        assert not exchanged
        assert {name: getattr(module, name) for name in ("add", "double")} == {"add": add, "double": double} | changed

    (warning,) = caplog.messages
    assert next(iter(changed)) in warning
    assert warning.endswith(OTHERWISE)
