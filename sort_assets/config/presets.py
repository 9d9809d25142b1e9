"""Named starting points. A preset holds only what differs from the defaults."""

from collections.abc import Mapping
from typing import Any

from sort_assets.errors import ConfigError

DEFAULT_PRESET = "kilosort4"
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "kilosort4": {"sorter": {"name": "kilosort4"}},
    # The drift estimate is unreliable on few or sparse channels:
    # https://kilosort.readthedocs.io/en/latest/parameters.html (nblocks).
    "kilosort4_few_channels": {"sorter": {"name": "kilosort4", "params": {"nblocks": 0}}},
    # A Maxwell array is 3850 x 2100 micrometres, sampled at 20 kHz, and only a part of it is routed. Kilosort's
    # documentation asks for one x centre per 200 to 300 micrometres on 2-D arrays and for nt of about 2 ms plus one;
    # precomputed templates would need nt=61. Detection of bad channels needs neighbours, which routed electrodes lack.
    "kilosort4_maxwell": {
        "recording": {"bad_channels": "none"},
        "sorter": {"name": "kilosort4", "params": {"nblocks": 0, "x_centers": 14, "nt": 41}},
    },
    "spykingcircus2": {"sorter": {"name": "spykingcircus2"}},
    "tridesclous2": {"sorter": {"name": "tridesclous2"}},
    "lupin": {"sorter": {"name": "lupin"}},
    "mountainsort5": {"sorter": {"name": "mountainsort5"}},
}


def preset_overrides(name: str) -> Mapping[str, Any]:
    """The sparse overrides of a preset.

    Raises
    ------
    ConfigError
        When there is no preset of that name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"There is no preset named '{name}'.", remedy=f"Use one of: {', '.join(sorted(PRESETS))}."
        ) from None
