"""A configuration as the lines of a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
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


def with_shape_choices(
    parameters: tuple[Parameter, ...], chosen: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> tuple[Parameter, ...]:
    """The same, and before them what the shape of the recording decided of the sorter's parameters.

    Parameters
    ----------
    parameters : tuple of Parameter
    chosen : Mapping
        By group, by the parameter's name, its "value" and "reason": `SortingDetails.chosen_by_shape`. Groups for which
        the same was decided share a line.
    """
    lines: dict[Parameter, list[str]] = {}
    for group, choices in chosen.items():
        for name, one in choices.items():
            # What is decided beside the sorter's own parameters has its dotted name already.
            field = name if "." in name else f"sorter.params.{name}"
            line = Parameter(field, _text(one["value"]), f"the recording's shape: {one['reason']}")
            lines.setdefault(line, []).append(group)
    of_some = {line: groups for line, groups in lines.items() if len(groups) < len(chosen)}
    named = tuple(
        replace(line, chosen_by=f"{line.chosen_by} (groups {', '.join(groups)})") if line in of_some else line
        for line, groups in lines.items()
    )
    return named + parameters


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
