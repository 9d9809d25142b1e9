"""Sorter backends: the contract, the registry, and one module per sorter."""

from sort_assets.backends.base import SorterBackend
from sort_assets.backends.registry import BackendEntry, backend_class, create_backend, registered_backends

__all__ = ["BackendEntry", "SorterBackend", "backend_class", "create_backend", "registered_backends"]
