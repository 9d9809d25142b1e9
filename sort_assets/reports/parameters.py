"""A configuration as the lines of a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sort_assets.reports.content import Parameter


def parameters_in_force(config: Mapping[str, Any], chosen_by: Mapping[str, str]) -> tuple[Parameter, ...]:
    """Every parameter with who chose it, chosen ones first.

    Parameters
    ----------
    config : Mapping
        The resolved configuration, nested, plain JSON.
    chosen_by : Mapping[str, str]
        From dotted name to the layer that chose it. A name also stands for all that is nested in it.
    """
    lines = [Parameter(name, _text(value), _source(name, chosen_by)) for name, value in _flat(config)]
    return tuple(sorted(lines, key=lambda line: not line.chosen_by))


def _flat(values: Mapping[str, Any], around: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        dotted = f"{around}{name}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{dotted}.")
        else:
            yield dotted, value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _source(name: str, chosen_by: Mapping[str, str]) -> str:
    """Of the longest name in `chosen_by` that is this one or stands for it."""
    around = [one for one in chosen_by if name == one or name.startswith(f"{one}.")]
    return chosen_by[max(around, key=len)] if around else ""
