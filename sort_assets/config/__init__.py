"""How a recording is sorted: the configuration model, the presets, and how layers of it are combined."""

from sort_assets.config.layers import ConfigLayer, ResolvedConfig, resolve_config
from sort_assets.config.model import (
    ExecutionConfig,
    RecordingConfig,
    SorterConfig,
    SortingPipelineConfig,
    WaveformConfig,
)
from sort_assets.config.presets import PRESETS, preset_overrides

__all__ = [
    "PRESETS",
    "ConfigLayer",
    "ExecutionConfig",
    "RecordingConfig",
    "ResolvedConfig",
    "SorterConfig",
    "SortingPipelineConfig",
    "WaveformConfig",
    "preset_overrides",
    "resolve_config",
]
