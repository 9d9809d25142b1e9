"""SpikeGLX's files that hold no action potentials of a probe: a scan says so where nothing else is beside them.

A run may be recorded with a National Instruments device alone, or only its local field potentials may have been kept.
"""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.formats.reading import natural_order

_DESCRIPTION = re.compile(
    r"(?!\.)(?P<run>.+)_t(?P<trigger>\d+|cat)\.((?P<probe>imec\d*)\.lf|nidq|obx\d*\.obx)(\.[0-9a-f-]{36})?\.meta"
)
_PROBES_BESIDE = re.compile(r"(.*_)?imec\d*|probe\d+.*|.*\.ap\.(.*\.)?(bin|cbin|meta)")


def may_be_without_spikes(name: str, beside: Set[str]) -> bool:
    """Whether a file describes other signals of a run of which no probe is in its folder; one of several triggers."""
    found = _DESCRIPTION.fullmatch(name)
    if found is None:
        return False
    of_first_trigger = found["run"] + "_t0" + name[found.end("trigger") :]
    if of_first_trigger != name and of_first_trigger in beside:  # a run may have thousands of triggers
        return False
    if any(_PROBES_BESIDE.fullmatch(entry) for entry in beside):
        return False
    return name == min((one for one in beside if _DESCRIPTION.fullmatch(one)), key=natural_order, default=name)


def refuse_without_spikes(path: Path) -> bool:
    """Say what a description of other signals describes; False where it is none.

    Raises
    ------
    UnreadableRecordingError
        With what to do.
    """
    found = _DESCRIPTION.fullmatch(path.name)
    if found is None or not path.is_file():
        return False
    if found["probe"] is not None:
        raise UnreadableRecordingError(
            f"'{path.parent}' holds the local field potentials of a SpikeGLX run ('{path.name}'), and no action "
            "potentials (….ap.bin).",
            remedy="Copy the .ap files to it as well. If none were kept, ignore it with a rule.",
        )
    raise UnreadableRecordingError(
        f"'{path.parent}' holds the inputs of a National Instruments device or a OneBox in a SpikeGLX run "
        f"('{path.name}'), and no Neuropixels probe.",
        remedy="Copy the probes' files to it as well. If electrodes are wired to the device itself (Whisper), set "
        "recording.reader to spikeglx, recording.arguments to {stream_id: nidq}, and recording.probe_file to a "
        "probeinterface JSON file that says which channels they are, for the folder: in a rule or in a sidecar. "
        "Otherwise ignore it with a rule.",
    )


def refuse_run_without_spikes(path: Path) -> None:
    """Say it of a run whose probes' folders hold nothing else.

    Raises
    ------
    UnreadableRecordingError
        As `refuse_without_spikes` does.
    """
    for file in sorted(path.rglob("*.meta"), key=lambda file: natural_order(file.name)):
        if file.parent in (path, *path.iterdir()):
            refuse_without_spikes(file)
