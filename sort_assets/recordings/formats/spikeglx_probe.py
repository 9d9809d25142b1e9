"""What a SpikeGLX file says of its probe: the places of the sites, and the gain of each channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingProbeError, RecordingError, UnreadableRecordingError
from sort_assets.recordings.formats.reading import COPY_AGAIN
from sort_assets.recordings.formats.stated_numbers import stated_count, stated_number

if TYPE_CHECKING:
    from probeinterface import Probe

_ORIGINAL_SUBSET = "snsSaveChanSubset_orig"
_MOST_CHANNELS = 100_000
PUT_BACK = (
    "Put back the .meta that SpikeGLX wrote beside this .bin, or correct the field: it was edited or damaged, or is of "
    "another file."
)
"""What to do about a field of a .meta that can't be."""
_SET_GAIN = (
    "Put back the .meta that SpikeGLX wrote beside this .bin, correct the field, or set recording.gain_to_uv to the "
    "microvolts of one count."
)
_SITE_UM = 12.0
"""Edge of the square sites of all Neuropixels probes but those for high density, which the table knows."""


def read_meta(meta_path: Path) -> dict[str, str]:
    """The fields of a .meta file as texts, without the "~" of tables; notes may be in whatever encoding."""
    text = meta_path.read_bytes().decode("utf-8-sig", errors="replace")
    fields = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip().removeprefix("~"): value.strip() for name, _, value in fields}


def num_electrodes(meta: Mapping[str, str]) -> int:
    """How many of the saved channels are electrodes of the action potential band."""
    return int(meta["snsApLfSy"].split(",")[0])


def saved_channels(meta: Mapping[str, str], meta_path: Path) -> np.ndarray:
    """The numbers of the saved channels, shape (channels,), in the order of acquisition; of "0:3,768" there are five.

    Where a file was cut out of another one, as the International Brain Laboratory does with shanks, those of the first.

    Raises
    ------
    UnreadableRecordingError
        When the list holds anything but numbers.
    """
    field = _ORIGINAL_SUBSET if _ORIGINAL_SUBSET in meta else "snsSaveChanSubset"
    text = meta[field].strip()
    if text == "all":
        return np.arange(int(meta["nSavedChans"]))
    saved = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        start, end = (stated_count(one, field, meta_path, remedy=PUT_BACK) for one in (first, last or first))
        if end - start >= _MOST_CHANNELS:
            raise UnreadableRecordingError(
                f"'{meta_path}' lists {end - start + 1} saved channels ({field}), more than any probe has.",
                remedy=PUT_BACK,
            )
        saved.append(np.arange(start, end + 1))
    return np.concatenate(saved)


def were_aligned(meta: Mapping[str, str]) -> bool:
    """Whether CatGT has shifted the channels to the same moment (tshift), so that nobody must do it again.

    It does unless it is told not to: https://billkarsh.github.io/SpikeGLX/help/catgt_tshift/catgt_tshift.
    """
    commands = [value for name, value in meta.items() if name.startswith("catGTCmdline")]
    return any("-no_tshift" not in command for command in commands)


def read_probe(meta_path: Path, meta: Mapping[str, str], config: RecordingConfig) -> Probe | None:
    """The probe, by its part number or else by what the file says of its sites.

    Parameters
    ----------
    meta_path : Path
    meta : mapping of str to str
        Its content.
    config : RecordingConfig
        With a `probe_file`, a probe that can't be read is None.

    Raises
    ------
    UnreadableRecordingError
        When the readout table is damaged.
    MissingProbeError
        When neither says where the sites are.
    """
    from probeinterface import read_spikeglx

    # Rows count from the first: with some missing, sites would silently be mistaken for others.
    is_damaged = "imroTbl" not in meta or not _is_whole(meta["imroTbl"])
    if is_damaged and config.probe_file is None:
        raise UnreadableRecordingError(
            f"'{meta_path}' is damaged or truncated: imroTbl, or rows of it, are missing.",
            remedy=f"{COPY_AGAIN} If it is whole nowhere, set recording.probe_file to a probeinterface JSON file.",
        )
    num_ap = num_electrodes(meta)
    cause = ""
    if not is_damaged:
        # The table raises anything for a probe or a readout that it does not know.
        try:
            with _of_the_original(meta_path, meta) as original_path:
                probe = read_spikeglx(original_path)
            if probe.get_contact_count() == num_ap:
                return probe
            cause = f"its readout table places {probe.get_contact_count()}"
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
        try:
            stated = _stated_probe(meta, num_ap)
        except (ValueError, IndexError) as error:
            cause += f"; snsGeomMap: {error}"
        else:
            if stated is not None:
                return stated
    if config.probe_file is not None:
        return None
    raise MissingProbeError(
        f"The places of the {num_ap} electrodes in '{meta_path}' can't be read: probeinterface can't tell them "
        f"from the part number '{meta.get('imDatPrb_pn', '')}' and the readout table ({cause}), and the file itself "
        "does not list them, or not in full (snsGeomMap).",
        remedy="Set recording.probe_file to a probeinterface JSON file of the probe, with {stream} in its name where "
        "other streams keep their own probe. A newer version of probeinterface may also know it.",
    )


@contextmanager
def _of_the_original(meta_path: Path, meta: Mapping[str, str]) -> Iterator[Path]:
    """The description with the channels of the file that this one was cut out of; the description itself, if of none.

    probeinterface (up to 0.4.2) counts channels as they are in the part, and would take those of the first shank. It
    also reads no notes in another encoding than that of this computer.
    """
    if _ORIGINAL_SUBSET not in meta and meta_path.read_bytes().isascii():
        yield meta_path
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "original.ap.meta"
        fields = {**meta, "snsSaveChanSubset": meta.get(_ORIGINAL_SUBSET, meta["snsSaveChanSubset"])}
        path.write_bytes("".join(f"{name}={value}\n" for name, value in fields.items()).encode("ascii", "replace"))
        yield path


def _is_whole(readout_table: str) -> bool:
    """Whether a table of readout channels has the rows that it announces: "(0,384)(0 0 0 500 250 1)(1 …"."""
    header, *rows = readout_table.split(")(")
    announced = header.strip("(").split(",")
    # The tables of some probes announce other things: options (phase 3A), the mode of the columns (Ultra).
    return readout_table.endswith(")") and (
        len(announced) != len(("type", "rows")) or announced[1].strip() == str(len(rows))
    )


def _stated_probe(meta: Mapping[str, str], num_ap: int) -> Probe | None:
    """The sites of the saved channels as the file itself places them; None where it does not."""
    from probeinterface import Probe
    from probeinterface.neuropixels_tools import parse_spikeglx_snsGeomMap

    if "snsGeomMap" not in meta:
        return None
    num_shanks, _, pitch_um, shanks, across_um, along_um, _ = parse_spikeglx_snsGeomMap(dict(meta))
    if len(shanks) != num_ap:
        return None
    probe = Probe(ndim=2, si_units="um", manufacturer="imec", model_name=meta.get("imDatPrb_pn"))
    probe.set_contacts(
        positions=np.column_stack([across_um + pitch_um * shanks, along_um]),
        shapes="square",
        shape_params={"width": _SITE_UM},
        shank_ids=shanks.astype(str) if num_shanks > 1 else None,
    )
    probe.annotate(serial_number=meta.get("imDatPrb_sn"), part_number=meta.get("imDatPrb_pn"))
    probe.set_device_channel_indices(np.arange(num_ap))
    return probe


def gains_uv(
    meta_path: Path, meta: Mapping[str, str], probe: Probe | None, config: RecordingConfig
) -> np.ndarray | float:
    """Microvolts per count of each saved channel: volts = counts x imAiRangeMax / imMaxInt / gain (Metadata_30).

    What the table of part numbers says counts before what the file says of its first channel: a probe may have a gain
    for each channel (Neuropixels 1).

    Raises
    ------
    RecordingError
        When neither says it, nor the configuration.
    UnreadableRecordingError
        When the file states nonsense, and the configuration no gain.
    """
    try:
        range_v, counts, gains = _amplification(meta_path, meta, probe)
    except UnreadableRecordingError:
        if config.gain_to_uv is None:
            raise
        return config.gain_to_uv
    if counts and gains is not None:
        amplification = np.broadcast_to(np.asarray(gains, dtype=float), num_electrodes(meta))
        return np.asarray(1e6 * range_v / counts / amplification)
    if config.gain_to_uv is not None:
        return config.gain_to_uv
    lacking = "the gain of its channels (imChan0apGain)" if counts else "the range of its converters (imMaxInt)"
    raise RecordingError(
        f"'{meta_path}' does not say {lacking}, and its probe is none that probeinterface knows.",
        remedy="Set recording.gain_to_uv to the microvolts of one count.",
    )


def _amplification(
    meta_path: Path, meta: Mapping[str, str], probe: Probe | None
) -> tuple[float, int | None, np.ndarray | float | None]:
    """Volts at the highest count, that count, and the gain of the amplifiers; None where nothing says it."""
    annotations = {} if probe is None else probe.annotations
    range_v = stated_number(meta["imAiRangeMax"], "imAiRangeMax", meta_path, remedy=_SET_GAIN, positive=True)
    if "imMaxInt" in meta:
        counts: int | None = stated_count(meta["imMaxInt"], "imMaxInt", meta_path, remedy=_SET_GAIN, least=1)
    else:
        bits = annotations.get("adc_bit_depth")
        counts = 2 ** (int(bits) - 1) if bits else None
    gains = None if probe is None else probe.contact_annotations.get("ap_gains")
    if gains is None and "imChan0apGain" in meta:
        gains = stated_number(meta["imChan0apGain"], "imChan0apGain", meta_path, remedy=_SET_GAIN, positive=True)
    return range_v, counts, annotations.get("ap_gain") if gains is None else gains
