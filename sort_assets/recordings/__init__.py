"""Opening recordings, preparing them for sorting, and making synthetic ones."""

from sort_assets.recordings.formats.table import FORMATS, RecordingFormat, recognise, sortable_streams
from sort_assets.recordings.groups import aggregate_recordings, aggregate_sortings, split_recording
from sort_assets.recordings.natural_order import natural_order
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
    "natural_order",
    "open_recording",
    "prepare",
    "recognise",
    "refuse_pickles",
    "require_probe",
    "sortable_streams",
    "split_recording",
]
