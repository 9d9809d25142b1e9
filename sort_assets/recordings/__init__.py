"""Opening recordings, preparing them for sorting, and making synthetic ones."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sort_assets.recordings.formats.table import FORMATS, RecordingFormat, recognise, sortable_streams
    from sort_assets.recordings.groups import aggregate_recordings, aggregate_sortings, split_recording
    from sort_assets.recordings.opening import Boundary, boundaries, open_recording
    from sort_assets.recordings.pickle_guard import refuse_pickles
    from sort_assets.recordings.preprocessing import freeze, prepare
    from sort_assets.recordings.probes import require_probe

__all__ = [
    "FORMATS",
    "Boundary",
    "RecordingFormat",
    "aggregate_recordings",
    "aggregate_sortings",
    "boundaries",
    "freeze",
    "open_recording",
    "prepare",
    "recognise",
    "refuse_pickles",
    "require_probe",
    "sortable_streams",
    "split_recording",
]

_MODULES = {
    "Boundary": "opening",
    "FORMATS": "formats.table",
    "RecordingFormat": "formats.table",
    "aggregate_recordings": "groups",
    "aggregate_sortings": "groups",
    "boundaries": "opening",
    "freeze": "preprocessing",
    "open_recording": "opening",
    "prepare": "preprocessing",
    "recognise": "formats.table",
    "refuse_pickles": "pickle_guard",
    "require_probe": "probes",
    "sortable_streams": "formats.table",
    "split_recording": "groups",
}


def __getattr__(name: str) -> Any:
    # Whoever imports one module of this package, such as the code location, need not import them all.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
