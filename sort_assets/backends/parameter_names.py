"""Finding misspelt names of a sorter's parameters before anything runs."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from sort_assets.errors import ConfigError

_MISSPELT_SIMILARITY = 0.8


def check_parameter_names(sorter: str, chosen: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check that a sorter has the chosen parameters.

    Raises
    ------
    ConfigError
        When one is unknown, with the name that was probably meant.
    """
    for parameter in chosen:
        if parameter not in defaults:
            close = difflib.get_close_matches(parameter, defaults, n=3)
            raise _unknown_parameter(sorter, parameter, close or sorted(defaults), exact=not close)
    for path, close_to in _misspelt_options(chosen, defaults):
        raise _unknown_parameter(sorter, path, [close_to], exact=False)


def _misspelt_options(
    chosen: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, str]]:
    """Unknown keys inside of options that look much like a known one, and that one.

    Options are handed on as keyword arguments to functions with more of them than SpikeInterface lists as defaults,
    so that a key is not wrong for being unknown.
    """
    for name, value in chosen.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            for key in value:
                close = [] if key in default else difflib.get_close_matches(key, default, 1, _MISSPELT_SIMILARITY)
                if close:
                    yield f"{prefix}{name}.{key}", close[0]
            yield from _misspelt_options(value, default, f"{prefix}{name}.")


def _unknown_parameter(sorter: str, parameter: str, names: Iterable[str], *, exact: bool) -> ConfigError:
    return ConfigError(
        f"sorter.params.{parameter}: {sorter} has no such parameter.",
        remedy=f"Use one of: {', '.join(names)}." if exact else f"Did you mean {' or '.join(names)}?",
    )
