"""The backend resource: which sorter runs on a recording, with which configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from sort_assets.config import PRESETS, ConfigLayer, ResolvedConfig, SortingPipelineConfig, resolve_config
from sort_assets.partitions import RecordingKey
from sort_assets.resources.launchpad import one_of, sparse_shape

DEFAULT_PRESET = "kilosort4"
_PRESET = "preset"


@dataclass(frozen=True)
class BackendResource:
    """Decides how each recording is sorted, from layers of configuration.

    The configuration depends on the recording (its stream, and later its rules and sidecar), so the `SorterBackend`
    is built per recording, inside the step, and not once per run.

    Attributes
    ----------
    preset : str
        The named starting point.
    overrides : Mapping[str, Any]
        What the run chose on top, nested like `SortingPipelineConfig`.
    """

    preset: str = DEFAULT_PRESET
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def resolve(self, recording: str) -> ResolvedConfig:
        """The configuration of a recording and where each choice came from.

        Raises
        ------
        ConfigError, RecordingKeyError
        """
        layers = [ConfigLayer("run config", self.overrides)]
        stream = RecordingKey.parse(recording).stream
        if stream is not None:
            layers.append(ConfigLayer("recording key", {"recording": {"stream": stream}}))
        return resolve_config(self.preset, layers)


@dg.resource(
    description="Which sorter runs and how: a preset, and on top only what should differ from it.",
    config_schema={
        _PRESET: dg.Field(
            one_of(PRESETS),
            default_value=DEFAULT_PRESET,
            description="Named starting point for all settings.",
        ),
        **sparse_shape(SortingPipelineConfig).fields,
    },
)
def backend_resource(context: dg.InitResourceContext) -> BackendResource:
    """The `backend` resource of the code location."""
    config = context.resource_config
    return BackendResource(config[_PRESET], {name: value for name, value in config.items() if name != _PRESET})
