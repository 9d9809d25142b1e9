"""Layers of configuration, each sparse, combined into one validated configuration.

The order is: defaults, preset, rules file, nearest sidecar, the run's overrides; the later layer wins, key by key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sort_assets.config.model import SortingPipelineConfig
from sort_assets.config.presets import preset_overrides
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
        For each dotted field that some layer chose, the source of the layer that had the last word.
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


def resolve_config(preset: str, layers: Iterable[ConfigLayer] = ()) -> ResolvedConfig:
    """Combine defaults, a preset and further layers, lowest first, into a validated configuration.

    Raises
    ------
    ConfigError
        When the preset does not exist, or a field is unknown or has a value that is not allowed. The message names
        the field, the value and the layer that chose it.
    """
    values: dict[str, Any] = {}
    chosen: dict[str, str] = {}
    for layer in (ConfigLayer(f"preset {preset}", preset_overrides(preset)), *layers):
        values = deep_merge(values, layer.overrides)
        chosen.update(dict.fromkeys(_dotted(layer.overrides), layer.source))
    try:
        return ResolvedConfig(SortingPipelineConfig.model_validate(values), chosen)
    except ValidationError as error:
        raise _config_error(error, chosen) from None


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
        source = _source(field, chosen)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"there is no such field; fields here: {', '.join(_fields_beside(problem['loc']))}"
        problems.append(f"{field or 'configuration'}: {message}" + (f" (chosen by {source})" if source else ""))
    return ConfigError(
        f"The configuration is not valid: {'; '.join(problems)}.",
        remedy="Correct the named fields; their meaning and units stand in the launchpad.",
    )


def _source(field: str, chosen: Mapping[str, str]) -> str | None:
    """Which layer chose a field, something in it, or the list that it is in."""
    for name, source in chosen.items():
        if name == field or name.startswith(f"{field}."):
            return source
    while field and field not in chosen:
        field = field.rpartition(".")[0]
    return chosen.get(field)


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = SortingPipelineConfig
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    return sorted(model.model_fields)
