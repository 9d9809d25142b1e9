"""Layers of configuration, each sparse, combined into one validated configuration.

The order is: defaults, preset, rules file, nearest sidecar, the run's overrides; the later layer wins, key by key.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from sort_assets.config.model import SortingPipelineConfig
from sort_assets.config.presets import preset_overrides
from sort_assets.config.sparse import fields_beside
from sort_assets.errors import ConfigError


@dataclass(frozen=True)
class ConfigLayer:
    """Sparse overrides and where they came from.

    Attributes
    ----------
    source : str
        Shown to people: "preset kilosort4", "run config", the path of a file.
    overrides : Mapping[str, Any]
        Nested like `SortingPipelineConfig`, holding only what was chosen.
    preset : str or None
        The preset that this layer asks for. The last layer that names one decides.
    """

    source: str
    overrides: Mapping[str, Any]
    preset: str | None = None


@dataclass(frozen=True)
class ResolvedConfig:
    """The result of combining layers.

    Attributes
    ----------
    config : SortingPipelineConfig
        The validated configuration.
    chosen : Mapping[str, str]
        For each dotted field that some layer chose, and for ``preset``, the source of the layer that had the last word.
    """

    config: SortingPipelineConfig
    chosen: Mapping[str, str]


def deep_merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Combine nested mappings; where both hold a mapping they are merged, otherwise `upper` wins."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = deep_merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def resolve_config(default_preset: str, layers: Iterable[ConfigLayer] = ()) -> ResolvedConfig:
    """Combine defaults, a preset and further layers, lowest first, into a validated configuration.

    The preset is that of the last layer that names one. What layers say about a sorter that does not run in the end
    counts for nothing: their `sorter.params`, and a `sorter.name` from before a later layer named a preset.

    Parameters
    ----------
    default_preset : str
        The preset when no layer names one.
    layers : iterable of ConfigLayer
        Lowest first.

    Raises
    ------
    ConfigError
        When the preset does not exist, or a field is unknown or has a value that is not allowed. The message names
        the field, the value and the layer that chose it.
    """
    layers = tuple(layers)
    chosen: dict[str, str] = {}
    preset = default_preset
    for layer in layers:
        if layer.preset is not None:
            preset = layer.preset
            chosen["preset"] = layer.source
    values: dict[str, Any] = {}
    for layer in _for_the_sorter_that_runs(default_preset, preset, layers):
        values = deep_merge(values, layer.overrides)
        chosen.update(dict.fromkeys(_dotted(layer.overrides), layer.source))
    try:
        return ResolvedConfig(SortingPipelineConfig.model_validate(values), chosen)
    except ValidationError as error:
        raise _config_error(error, chosen) from None


def _for_the_sorter_that_runs(default_preset: str, preset: str, layers: tuple[ConfigLayer, ...]) -> list[ConfigLayer]:
    """The preset and the layers on it, without what was meant for another sorter."""
    last_preset = max((index for index, layer in enumerate(layers) if layer.preset is not None), default=-1)
    bottom = ConfigLayer(f"preset {preset}", preset_overrides(preset))
    sorter = preset_sorter = _sorter(bottom).get("name")
    for layer in layers[max(last_preset, 0) :]:
        sorter = _sorter(layer).get("name", sorter)

    kept = [bottom if preset_sorter == sorter else _without(bottom, "params")]
    in_force = _sorter(ConfigLayer("", preset_overrides(default_preset))).get("name")
    for index, layer in enumerate(layers):
        if layer.preset is not None:
            in_force = _sorter(ConfigLayer("", preset_overrides(layer.preset))).get("name")
        in_force = _sorter(layer).get("name", in_force)
        meant = layer if index >= last_preset else _without(layer, "name")
        kept.append(meant if in_force == sorter else _without(meant, "params"))
    return kept


def _sorter(layer: ConfigLayer) -> Mapping[str, Any]:
    section = layer.overrides.get("sorter")
    return section if isinstance(section, Mapping) else {}


def _without(layer: ConfigLayer, field: str) -> ConfigLayer:
    section = _sorter(layer)
    if field not in section:
        return layer
    others = {name: value for name, value in layer.overrides.items() if name != "sorter"}
    kept = {name: value for name, value in section.items() if name != field}
    return replace(layer, overrides={**others, "sorter": kept} if kept else others)


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _config_error(error: ValidationError, chosen: Mapping[str, str]) -> ConfigError:
    problems = []
    for problem in error.errors():
        field = ".".join(str(part) for part in (*problem["loc"], *problem.get("ctx", {}).get("inside", ())))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            beside = fields_beside(SortingPipelineConfig, problem["loc"])
            message = f"there is no such field; fields here: {', '.join(sorted(beside))}"
        sources = " and ".join(_sources(field, message, chosen))
        problems.append(f"{field or 'configuration'}: {message}" + (f" (chosen by {sources})" if sources else ""))
    return ConfigError(
        f"The configuration is not valid: {'; '.join(problems)}.",
        remedy="Correct the named fields; their meaning and units stand in the launchpad.",
    )


def _sources(field: str, message: str, chosen: Mapping[str, str]) -> list[str]:
    """Which layers chose a field; of a section, what the message names in it; else what stands nearest around it."""
    around = field
    while around:
        inside = {name: source for name, source in chosen.items() if name == around or name.startswith(f"{around}.")}
        words = set(re.findall(r"\w+", message))
        named = {name: source for name, source in inside.items() if name.rpartition(".")[2] in words}
        if inside:
            return list(dict.fromkeys((named or inside).values()))
        around = around.rpartition(".")[0]
    return []
