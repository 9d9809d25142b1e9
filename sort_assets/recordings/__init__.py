"""Recordings: what they are called, how they are opened, and how they are prepared for sorting.

- `key`: the name of a recording in the platform; `headers`, `fingerprint`: what a recording is, before it is computed;
- `formats`: the formats that can be opened. **A format is added there**: a module of its own and a row in
  `formats/table.py` (docs/how-to/add-a-format.md);
- `opening`: one file, or a folder of files that belong one after the other; `probes`, `probe_files`: their channels;
- `preprocessing`, `steps`, `bad_channels`: from the raw recording to the one that is sorted; `dat_file` writes it;
- `joins`, `bridges`: where pieces of a recording meet: the spikes there, and what filters see of it;
- `preflight`, `inspection`: checks before the sort; `groups`: sorting shanks and tetrodes one by one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sort_assets.recordings.formats.recording_format import RecordingFormat
    from sort_assets.recordings.formats.table import FORMATS, recognise, sortable_streams
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
    "FORMATS": "formats.table",
    "RecordingFormat": "formats.recording_format",
    "recognise": "formats.table",
    "sortable_streams": "formats.table",
    "aggregate_recordings": "groups",
    "aggregate_sortings": "groups",
    "split_recording": "groups",
    "Boundary": "opening",
    "boundaries": "opening",
    "open_recording": "opening",
    "refuse_pickles": "pickle_guard",
    "freeze": "preprocessing",
    "prepare": "preprocessing",
    "require_probe": "probes",
}


def __getattr__(name: str) -> Any:
    # Dagster's code location imports `key`, and must not import numpy with it.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
