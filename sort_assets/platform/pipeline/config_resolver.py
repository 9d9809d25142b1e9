"""The backend resource: which sorter runs on a recording, with which configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.config import PRESETS, ConfigLayer, ResolvedConfig, SortingPipelineConfig
from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.platform.pipeline.launchpad import one_of, sparse_shape
from sort_assets.recordings.key import RecordingKey

if TYPE_CHECKING:
    from sort_assets.config.rules import RecordingSettings

RUN_CONFIG = "run config"
"""The source of what a run chose."""
_PRESET = "preset"


@dataclass(frozen=True)
class RecordingConfigResolver:
    """Decides how each recording is sorted, from layers of configuration.

    The configuration depends on the recording (its stream, its rules and its sidecar), so the `SorterBackend`
    is built per recording, inside the step, and not once per run.

    Attributes
    ----------
    preset : str or None
        The named starting point that the run chose; None leaves it to the recording's rules and sidecar.
    overrides : Mapping[str, Any]
        What the run chose on top, nested like `SortingPipelineConfig`.
    variant : ConfigLayer or None
        What a variant changes, below what the run chose.
    """

    preset: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    variant: ConfigLayer | None = None

    def under(self, variant: ConfigLayer) -> "RecordingConfigResolver":
        """The same with what a variant changes."""
        return replace(self, variant=variant)

    def resolve(self, recording: str, settings: "RecordingSettings") -> ResolvedConfig:
        """The configuration of a recording and where each choice came from.

        Parameters
        ----------
        recording : str
            Its key.
        settings : RecordingSettings
            What rules and sidecar say of it.

        Raises
        ------
        ConfigError, RecordingKeyError
        """
        layers = [] if self.variant is None else [self.variant]
        layers.append(ConfigLayer(RUN_CONFIG, self.overrides, self.preset))
        stream = RecordingKey.parse(recording).stream
        if stream is not None:
            layers.append(ConfigLayer("recording key", {"recording": {"stream": stream}}))
        return settings.resolve(DEFAULT_PRESET, layers)


@dg.resource(
    description="Which sorter runs and how: a preset, and on top only what should differ from it.",
    config_schema={
        _PRESET: dg.Field(
            one_of(PRESETS),
            is_required=False,
            description=f"Named starting point for all settings. Default: what rules and sidecar say, {DEFAULT_PRESET} "
            "where they say nothing.",
        ),
        **sparse_shape(SortingPipelineConfig).fields,
    },
)
def backend_resource(context: dg.InitResourceContext) -> RecordingConfigResolver:
    """The `backend` resource of the code location."""
    return resolver_of_config(context.resource_config)


def resolver_of_config(config: Mapping[str, Any]) -> RecordingConfigResolver:
    """The resource that a run's config describes."""
    overrides = {name: value for name, value in config.items() if name != _PRESET}
    return RecordingConfigResolver(config.get(_PRESET), overrides)
