"""How a recording is sorted: the configuration model, the presets, and how layers of it are combined.

Rules and sidecars are in `sort_assets.config.rules`, which takes longer to import and is not needed by everybody.
"""

from sort_assets.config.comparison import ComparisonConfig
from sort_assets.config.hybrid import HybridConfig
from sort_assets.config.layers import ConfigLayer, ResolvedConfig, resolve_config
from sort_assets.config.model import (
    BinaryConfig,
    ExecutionConfig,
    RecordingConfig,
    SorterConfig,
    SortingPipelineConfig,
    WaveformConfig,
)
from sort_assets.config.presets import PRESETS, preset_overrides
from sort_assets.config.resources import ResourcesConfig
from sort_assets.config.units import CurationConfig, DeliveryConfig, MetricsConfig

__all__ = [
    "PRESETS",
    "BinaryConfig",
    "ComparisonConfig",
    "ConfigLayer",
    "CurationConfig",
    "DeliveryConfig",
    "ExecutionConfig",
    "HybridConfig",
    "MetricsConfig",
    "RecordingConfig",
    "ResolvedConfig",
    "ResourcesConfig",
    "SorterConfig",
    "SortingPipelineConfig",
    "WaveformConfig",
    "preset_overrides",
    "resolve_config",
]
