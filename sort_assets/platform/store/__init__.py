"""Where artefacts live: staged, published atomically, versioned, and opened again through handles."""

from sort_assets.config.settings import Roots
from sort_assets.platform.store.handles import Handle, StoredAnalyzer, StoredBinary, StoredRecording, StoredSorting
from sort_assets.platform.store.manifest import InputVersion, Manifest
from sort_assets.platform.store.store import Artefact, Staging, Store

__all__ = [
    "Artefact",
    "Handle",
    "InputVersion",
    "Manifest",
    "Roots",
    "Staging",
    "Store",
    "StoredAnalyzer",
    "StoredBinary",
    "StoredRecording",
    "StoredSorting",
]
