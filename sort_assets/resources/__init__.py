"""Dagster resources: the sorter backend, resolved for each recording."""

from sort_assets.resources.backend import BackendResource, backend_resource

__all__ = ["BackendResource", "backend_resource"]
