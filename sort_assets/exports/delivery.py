"""Writes curated units in all the forms that were asked for, with a README."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sort_assets.config.units import DeliveryConfig
from sort_assets.exports.arrays import write_mat, write_npz
from sort_assets.exports.content import content_hash
from sort_assets.exports.nwb import absent_from_nwb, left_out_of_nwb, write_nwb_units
from sort_assets.exports.phy import export_phy_folder
from sort_assets.exports.pynapple import write_pynapple
from sort_assets.exports.readme import readme_text
from sort_assets.exports.session import Facts
from sort_assets.exports.units import DeliveredUnits, split_by_file
from sort_assets.recordings.opening import Boundary

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer

README = "README.txt"

Format = Literal["nwb", "npz", "mat", "phy", "pynapple"]

_SUFFIXES: Mapping[Format, str] = {
    "nwb": ".nwb",
    "npz": "_units.npz",
    "mat": "_units.mat",
    "phy": "_phy",
    "pynapple": "_tsgroup.npz",
}
_SUFFIX_OF_RAW_FILES = re.compile(r"\.(nwb|h5|rhd|rhs|bin|dat|raw|zarr)$", re.IGNORECASE)
_NO_FILE_CHARACTERS = re.compile(r"[^\w.\-]+")
_LONGEST_STEM = 100


@dataclass(frozen=True)
class DeliveredFile:
    """A file, or a folder for Phy, of a delivery.

    Attributes
    ----------
    path : Path
    format : str
    num_bytes : int
        Of the file, or of all files in the folder.
    num_units : int
    """

    path: Path
    format: Format
    num_bytes: int
    num_units: int


@dataclass(frozen=True)
class Delivery:
    """What was written.

    Attributes
    ----------
    folder : Path
    files : tuple of DeliveredFile
        In the order of the configured formats.
    absent : tuple of str
        What was requested, or archives require, and is not known or not there.
    notes : tuple of str
        What else a reader should know: units that Phy does not take, for example.
    content : str
        Hash of what was delivered; the same for the same content, though files note when they were written.
    """

    folder: Path
    files: tuple[DeliveredFile, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    content: str


def write_delivery(
    folder: Path,
    analyzer: SortingAnalyzer,
    units: DeliveredUnits,
    config: DeliveryConfig,
    facts: Facts,
    files: Sequence[Boundary] = (),
    *,
    file_facts: Mapping[str, Facts] | None = None,
    dat_path: Path | None = None,
    job_kwargs: Mapping[str, Any] | None = None,
    suggested_merges: Sequence[Sequence[Any]] = (),
) -> Delivery:
    """Write units in the configured formats, and a README.

    Files are named after the recording, and after the file where there are several. A folder for Phy is that of the
    whole recording in any case, as it points to its `.dat`.

    Parameters
    ----------
    folder : Path
        Where to write; it may exist.
    analyzer : SortingAnalyzer
        That `units` were taken from; read for Phy only.
    units : DeliveredUnits
        Of the whole recording.
    config : DeliveryConfig
    facts : Facts
        Of session and subject.
    files : sequence of Boundary
        The files that were put one after the other, if there were several.
    file_facts : mapping of str to Facts or None
        Facts of each file by its name (`facts_of_files`); `facts` where there are none.
    dat_path : Path or None
        The `.dat` to which the folder for Phy points; None where there is not exactly one.
    job_kwargs : mapping or None
        SpikeInterface's, for the folder for Phy.
    suggested_merges : sequence of sequences
        Groups of units that may be one, for the folder for Phy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = split_by_file(units, files) if config.split_files and len(files) > 1 else [_on_one_timeline(units)]
    facts_of = {part.name: (file_facts or {}).get(part.name, facts) for part in parts}
    absent, notes = _absent(parts, facts_of, config), _notes(units, parts, config, dat_path)
    # Read once: it goes over all spikes and waveforms.
    hashes = [content_hash(part, facts_of[part.name]) for part in parts]
    written: list[DeliveredFile] = []
    for name in dict.fromkeys(config.formats):
        if name == "phy":
            path = folder / f"{_safe(units.name)}{_SUFFIXES[name]}"
            exported = export_phy_folder(
                analyzer,
                path,
                table=units.table,
                dat_path=dat_path,
                job_kwargs=job_kwargs or {},
                clock=units.clock.timeline(),
                unit_ids=list(units.unit_ids),
                suggested_merges=suggested_merges,
            )
            written.append(DeliveredFile(path, name, _size(path), len(exported.unit_ids)))
            continue
        for stem, part, identifier in zip(_stems(units.name, parts), parts, hashes, strict=True):
            path = folder / f"{stem}{_SUFFIXES[name]}"
            _write(name, part, facts_of[part.name], path, identifier)
            written.append(DeliveredFile(path, name, _size(path), len(part)))
    listed = [(one.format, one.path.name, one.num_units) for one in written]
    text = readme_text(units, parts, facts, listed, absent=absent, notes=notes)
    (folder / README).write_text(text, encoding="utf-8")
    content = hashlib.blake2b("\0".join([*config.formats, *hashes]).encode(), digest_size=16).hexdigest()
    return Delivery(folder, tuple(written), tuple(absent), tuple(notes), content)


def _write(name: Format, units: DeliveredUnits, facts: Facts, path: Path, identifier: str) -> None:
    if name == "nwb":
        write_nwb_units(units, facts, path, identifier=identifier)
    elif name == "npz":
        write_npz(units, path)
    elif name == "mat":
        write_mat(units, path)
    else:
        write_pynapple(units, path)


def _on_one_timeline(units: DeliveredUnits) -> DeliveredUnits:
    return replace(units, clock=units.clock.timeline())


def _absent(parts: Sequence[DeliveredUnits], facts: Mapping[str, Facts], config: DeliveryConfig) -> list[str]:
    absent = [words for part in parts if "nwb" in config.formats for words in absent_from_nwb(part, facts[part.name])]
    if config.waveforms and parts[0].waveforms is None:
        absent.append("Waveforms: the analyzer has no templates.")
    return list(dict.fromkeys(absent))


def _notes(
    units: DeliveredUnits, parts: Sequence[DeliveredUnits], config: DeliveryConfig, dat_path: Path | None
) -> list[str]:
    notes = left_out_of_nwb(units) if "nwb" in config.formats else []
    if "phy" not in config.formats:
        return notes
    trains = zip(units.unit_ids, units.spike_samples, strict=True)
    without_spikes = [str(unit_id) for unit_id, train in trains if len(train) == 0]
    if len(without_spikes) == len(units):
        notes.append("Phy itself opens no folder without spikes; SpikeInterface's read_phy does.")
    elif without_spikes:
        notes.append(f"Units without spikes, which Phy does not take: {', '.join(without_spikes)}.")
    if dat_path is None:
        notes.append("Phy shows no raw traces, since there is no single .dat of the recording; it shows waveforms.")
    else:
        notes.append(f"Phy shows raw traces and waveforms as long as {dat_path} is there.")
    if units.electrodes.positions_um is None:
        notes.append("Phy shows the channels in one column, since their positions are not known.")
    if len(parts) > 1:
        notes.append("The folder for Phy holds the whole recording, one file after the other.")
    return notes


def _stems(name: str, parts: Sequence[DeliveredUnits]) -> list[str]:
    """Beginnings of file names, each once."""
    if len(parts) == 1:
        return [_safe(name)]
    stems: list[str] = []
    for number, part in enumerate(parts, start=1):
        stem = f"{_safe(name)}_{_safe(part.name)}"
        stems.append(stem if stem not in stems else f"{stem}_{number}")
    return stems


def _safe(name: str) -> str:
    name = _SUFFIX_OF_RAW_FILES.sub("", name)
    return _NO_FILE_CHARACTERS.sub("_", name).strip("._")[:_LONGEST_STEM] or "recording"


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())
