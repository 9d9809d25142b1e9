"""What Open Ephys' settings say of a stream's probe, read by probeinterface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingProbeError, ProbeGeometryError, UnreadableRecordingError
from sort_assets.recordings.formats.reading import readable

if TYPE_CHECKING:
    from probeinterface import Probe


def read_probe(settings: Path, folder: Path, num_electrodes: int, config: RecordingConfig) -> Probe | None:
    """The stream's Neuropixels probe; None where it has none, or where a probe file stands for one that is unreadable.

    Of a probe that a probe file replaces, there is left to read when its converters take each channel.

    Parameters
    ----------
    settings : Path
        Description of the signal chain; it need not exist.
    folder : Path
        Of the stream; its name says which of the probes it is.
    num_electrodes : int
        How many of its channels are electrodes.
    config : RecordingConfig
        With a `probe_file`, a probe that can't be read is None.

    Raises
    ------
    UnreadableRecordingError
        When the settings are damaged.
    MissingProbeError
        When the probe that they describe can't be read.
    ProbeGeometryError
        When they place another number of electrodes.
    """
    try:
        # probeinterface treats settings that it can't parse as those of a recording without such a probe.
        with readable(settings):
            _ = settings.is_file() and ElementTree.parse(settings)
        probe = _neuropixels(settings, folder.name)
    # Readouts, electrodes and part numbers that probeinterface does not know raise anything.
    except Exception as error:
        if config.probe_file is not None:
            return None
        if isinstance(error, UnreadableRecordingError):
            raise
        raise MissingProbeError(
            f"The probe of '{folder.name}' can't be read from '{settings}' ({type(error).__name__}: {error}).",
            remedy="Set recording.probe_file to a probeinterface JSON file of the electrodes that were recorded. A "
            "newer version of probeinterface may also read the settings.",
        ) from error
    if probe is None or probe.get_contact_count() == num_electrodes:
        return probe
    if config.probe_file is not None:
        return None
    raise ProbeGeometryError(
        f"'{settings}' places {probe.get_contact_count()} electrodes, and '{folder}' has {num_electrodes}.",
        remedy="Set recording.probe_file to a probeinterface JSON file of the electrodes that were recorded, if the "
        "record node saved only some of them. If not, check that the settings belong to this recording: settings.xml "
        "to experiment1, settings_2.xml to experiment2.",
    )


def _neuropixels(settings: Path, stream: str) -> Probe | None:
    """The stream's probe, or None where it is no Neuropixels or nothing is known of it."""
    import probeinterface

    if not settings.is_file():
        return None
    if not probeinterface.has_neuropixels_probes(settings, stream_name=stream):
        return None
    return probeinterface.read_openephys_neuropixels(settings, stream_name=stream)
