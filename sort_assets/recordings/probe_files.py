"""Probe files: positions and wiring of the contacts, for recordings that do not contain them.

Only probeinterface's own JSON is read. A `.prb` is a Python program: reading it would run it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.errors import ConfigError, MissingProbeError, ProbeGeometryError
from sort_assets.recordings.probes import DEPTH_LEFT_OUT, planar_probes

if TYPE_CHECKING:
    from probeinterface import ProbeGroup
    from spikeinterface.core import BaseRecording

STREAM_FIELD = "{stream}"
"""Stands for the name of the stream in `recording.probe_file`."""
_MICROMETRES = {"um": 1.0, "mm": 1e3, "m": 1e6}


def find_probe_file(path: Path, probe_file: str) -> Path:
    """Where a recording's probe file is.

    Parameters
    ----------
    path : Path
        The recording's file or folder.
    probe_file : str
        Absolute, or relative to the recording's folder or the nearest folder above it that holds such a file. A
        recording that is a folder is searched first.

    Raises
    ------
    MissingProbeError
        When no such file is there.
    ConfigError
        When it is no `.json` file.
    """
    named = Path(probe_file)
    if named.suffix.lower() == ".prb":
        raise ConfigError(
            f"'{probe_file}' is a .prb file, which is a Python program, and is not run.",
            remedy="If you trust it, convert it once: from probeinterface import read_prb, write_probeinterface; "
            f"write_probeinterface('{named.with_suffix('.json').name}', read_prb('{named.name}')); then set "
            "recording.probe_file to the .json file.",
        )
    if named.suffix.lower() != ".json":
        raise ConfigError(
            f"'{probe_file}' is no probe file: its name does not end in .json.",
            remedy="Save the probe with probeinterface.write_probeinterface, and name that file.",
        )
    path = path.absolute()
    folders = [path, *path.parents] if path.is_dir() else list(path.parents)
    for folder in folders:
        # An absolute name replaces the folder.
        if (folder / named).is_file():
            return folder / named
    raise MissingProbeError(
        f"The probe file '{probe_file}' is not there."
        if named.is_absolute()
        else f"There is no probe file '{probe_file}' in '{folders[0]}', nor in a folder above it.",
        remedy="Put the file there, or correct recording.probe_file.",
    )


def probe_file_of(path: Path, probe_file: str | None, stream: str | None) -> Path | None:
    """Where the probe file of a stream is; None where it keeps its own probe.

    Parameters
    ----------
    path : Path
        The recording's file or folder.
    probe_file : str or None
        As for `find_probe_file`; `STREAM_FIELD` in it stands for the stream's name, with "_" for "/".
    stream : str or None
        The stream, where it has a name.

    Raises
    ------
    MissingProbeError
        When no such file is there, unless its name differs from stream to stream.
    ConfigError
        When it is no `.json` file.
    """
    if probe_file is None or STREAM_FIELD not in probe_file:
        return None if probe_file is None else find_probe_file(path, probe_file)
    if stream is None:
        return None
    try:
        return find_probe_file(path, probe_file.replace(STREAM_FIELD, stream.strip("/").replace("/", "_")))
    except MissingProbeError:
        return None


def probe_fingerprint(path: Path, probe_file: str | None, stream: str | None = None) -> str | None:
    """Hash of the content of a stream's probe file; the same for the same probe, wherever the file is.

    None where the stream keeps its own probe.

    Raises
    ------
    MissingProbeError, ConfigError
        As `probe_file_of` does.
    """
    file = probe_file_of(path, probe_file, stream)
    return None if file is None else hashlib.blake2b(file.read_bytes(), digest_size=32).hexdigest()


@contextmanager
def _in_plain_utf8(file: Path) -> Iterator[Path]:
    """The file as probeinterface reads it: editors put a byte order mark before it, or save another encoding."""
    content = file.read_bytes()
    if json.detect_encoding(content) == "utf-8":
        yield file
        return
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "probe.json"
        plain.write_text(json.dumps(json.loads(content)), encoding="utf-8")
        yield plain


def _check_wiring(file: Path) -> None:
    """Check that channels are whole numbers, which probeinterface cuts off to."""
    for probe in json.loads(file.read_bytes())["probes"]:
        for channel in probe.get("device_channel_indices") or ():
            if channel != int(channel):
                raise ValueError(f"{channel} in device_channel_indices is no channel")


def read_probe_file(file: Path) -> ProbeGroup:
    """The probes of a probeinterface JSON file, in micrometres.

    Raises
    ------
    ConfigError
        When the file is damaged, or its contacts lie in no plane.
    MissingProbeError
        When it does not say to which channels the contacts are wired.
    """
    from probeinterface import ProbeGroup, read_probeinterface

    try:
        with _in_plain_utf8(file) as plain:
            probes = read_probeinterface(plain)
        _check_wiring(file)
    # Anything that is no such file: the reader looks for keys one after the other.
    except Exception as error:
        raise ConfigError(
            f"'{file}' can't be read as a probe file: {type(error).__name__}: {error}.",
            remedy="Correct what the message says, or make the probe anew and save it with "
            "probeinterface.write_probeinterface.",
        ) from error
    if not probes.probes:
        raise MissingProbeError(
            f"'{file}' describes no probe.",
            remedy="Save a probe there with probeinterface.write_probeinterface, wired to the recording's channels.",
        )
    described = len(json.loads(file.read_bytes())["probes"])
    if described != len(probes.probes):
        raise ConfigError(
            f"'{file}' describes {described} probes, of which {len(probes.probes)} can be read: its list probe_ids "
            "does not have one name for each.",
            remedy="Give probe_ids as many names as there are probes, or take it out; or save the probes again with "
            "probeinterface.write_probeinterface.",
        )
    units = sorted({str(probe.si_units) for probe in probes.probes} - set(_MICROMETRES))
    if units:
        raise ConfigError(
            f"'{file}' has positions in a unit that is not known: si_units is '{units[0]}'.",
            remedy=f"Set si_units in the file to one of: {', '.join(_MICROMETRES)}, with the positions in it.",
        )
    probes, depth_left_out = planar_probes(probes)
    if depth_left_out:
        raise ConfigError(
            f"'{file}' has positions in space that lie in no plane.",
            remedy="Save it again with positions in a plane: probe.to_2d(), in probeinterface.",
        )
    if any(probe.device_channel_indices is None for probe in probes.probes):
        raise MissingProbeError(
            f"'{file}' does not say to which channel of the recording each contact is wired.",
            remedy="Set it with probe.set_device_channel_indices (or probe.wiring_to_device), counted from 0 in the "
            "order of the recording's channels, and save the file again.",
        )
    if all(probe.si_units == "um" for probe in probes.probes):
        return probes
    # SpikeInterface (up to 0.105.3) treats all numbers as micrometres.
    description = probes.to_dict(array_as_list=True)
    description["probes"] = [_in_micrometres(probe) for probe in description["probes"]]
    return ProbeGroup.from_dict(description)


def place_on_probes(recording: BaseRecording, probes: ProbeGroup, path: Path) -> BaseRecording:
    """Replace the probes of a recording.

    Parameters
    ----------
    recording : BaseRecording
    probes : ProbeGroup
        From `read_probe_file`. The probes are told apart by the channels' property `group`.
    path : Path
        Where the recording came from, for the message.

    Returns
    -------
    BaseRecording
        A view with those channels that are wired to a contact, in the order of the recording.

    Raises
    ------
    MissingProbeError
        When no contact is wired to a channel.
    ProbeGeometryError
        When contacts are wired to channels that the recording does not have, or two to the same.
    """
    wiring = probes.get_global_device_channel_indices()["device_channel_indices"]
    wired, counts = np.unique(wiring[wiring >= 0], return_counts=True)
    if wired.size == 0:
        raise MissingProbeError(
            "The probe file wires no contact to a channel.",
            remedy="Set device_channel_indices in the probe file, counted from 0 in the order of the recording's "
            "channels.",
        )
    num_channels = recording.get_num_channels()
    if wired[-1] >= num_channels:
        beyond = np.count_nonzero(wired >= num_channels)
        raise ProbeGeometryError(
            f"The probe file does not fit '{path}', which has {num_channels} channels, counted from 0: {beyond} of its "
            f"{wired.size} wired contacts ask for channels up to {wired[-1]}.",
            remedy="Correct device_channel_indices in the probe file, or choose the probe file of this recording.",
        )
    if counts.max() > 1:
        repeated = ", ".join(map(str, wired[counts > 1][:10]))
        raise ProbeGeometryError(
            f"The probe file wires several contacts to each of these channels: {repeated}.",
            remedy="Correct device_channel_indices in the probe file; -1 stands for a contact that is not wired.",
        )
    placed = recording.select_channels_with_probegroup(probes)
    placed.annotate(**{DEPTH_LEFT_OUT: False})
    return placed


def _in_micrometres(probe: dict[str, Any]) -> dict[str, Any]:
    factor = _MICROMETRES[probe["si_units"]]
    scaled = dict(probe)
    for name in ("contact_positions", "probe_planar_contour"):
        if scaled.get(name) is not None:
            scaled[name] = (factor * np.asarray(scaled[name], dtype=float)).tolist()
    if scaled.get("contact_shape_params") is not None:
        scaled["contact_shape_params"] = [
            {name: factor * value for name, value in shape.items()} for shape in scaled["contact_shape_params"]
        ]
    return {**scaled, "si_units": "um"}
