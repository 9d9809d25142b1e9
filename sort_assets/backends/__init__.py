"""Sorter backends.

- `base`: the contract of every sorter; `registry`: which sorters there are (a new one is added there);
- `spikeinterface_backend`: what all sorters that SpikeInterface runs have in common; `sorter_run`: one run of them;
- `spikeinterface_sorters`: the small sorters; `kilosort4`: Kilosort4;
- `failure_rules`, `any_sorter_failures`, `failure_classification`: what a failure means (where to add a message);
- `oom_schedule`: what is changed when memory runs out.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sort_assets.backends.base import SorterBackend
    from sort_assets.backends.registry import BackendEntry, backend_class, create_backend, registered_backends

__all__ = ["BackendEntry", "SorterBackend", "backend_class", "create_backend", "registered_backends"]

_MODULES = {
    "BackendEntry": "registry",
    "SorterBackend": "base",
    "backend_class": "registry",
    "create_backend": "registry",
    "registered_backends": "registry",
}


def __getattr__(name: str) -> Any:
    # Whoever imports one module of this package, such as the code location, need not import them all.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
