"""The files of a SpikeGLX run, by their names: probes, gates, triggers, and which of several files stand for the same.

Names are those of SpikeGLX (`run_g0_t0.imec0.ap.bin`), of CatGT (`run_g0_tcat…`), of an export from SpikeGLX's viewer
(`….exported.imec0.ap.bin`), and those in the archive of the International Brain Laboratory, which compresses the
samples (`.cbin` with `.ch`) and gives each file an identifier (`….ap.0f9c….cbin`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

CONCATENATED = -1
"""The number of a trigger for files in which CatGT concatenated all of them."""

_AP_FILE = re.compile(
    r"(?!\.)(?P<run>.+?)(_g(?P<gate>\d+)_t(?P<trigger>\d+|cat))?(?P<exported>\.exported)?\.(?P<probe>imec\d*)\.ap"
    r"(\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?\.(?P<kind>bin|meta|cbin|ch)"
)
_PROBE_FOLDER = re.compile(r"(?!\.)(?P<run>.+_g\d+)_imec\d*")
_RUN_FOLDER = re.compile(r"(?!\.|catgt_|supercat_).+_g\d+")
_MOST_SHANKS = 4


@dataclass(frozen=True)
class Trigger:
    """The files of one probe and one trigger.

    Attributes
    ----------
    run : str
    gate, trigger : int
    exported : bool
        Whether somebody exported them from SpikeGLX's viewer.
    folder : Path
    stem : str
        What the names of the files begin with, without identifiers.
    files : mapping of str to list of Path
        The files that are there by their last suffix; several are copies of each other.
    """

    run: str
    gate: int
    trigger: int
    exported: bool
    folder: Path
    stem: str
    files: Mapping[str, Sequence[Path]]

    @property
    def has_samples(self) -> bool:
        """Whether there are samples, compressed or not."""
        return "bin" in self.files or "cbin" in self.files

    @property
    def is_readable(self) -> bool:
        """Whether there are samples, and what describes them."""
        return self.has_samples and "meta" in self.files

    @property
    def samples_path(self) -> Path:
        """The samples; those that are not compressed, where there are both."""
        return self.files["bin" if "bin" in self.files else "cbin"][0]

    @property
    def meta_path(self) -> Path:
        """The description."""
        return self.files["meta"][0]


def may_be_spikeglx_folder(name: str, entries: Set[str]) -> bool:  # noqa: ARG001
    """Whether a folder with these entries looks like one run and gate, or one probe of it; not like several runs."""
    if any(_RUN_FOLDER.fullmatch(entry) for entry in entries):
        return False
    runs = {match["run"] for entry in entries if (match := _PROBE_FOLDER.fullmatch(entry))}
    return len(runs) == 1 or (not runs and any(_AP_FILE.fullmatch(entry) for entry in entries))


def find_triggers(path: Path) -> tuple[dict[str, list[Trigger]], list[str]]:
    """The files directly in a folder and in the folders of its probes, and what of them is left out.

    Returns
    -------
    triggers : dict of str to list of Trigger
        By probe, in the order in which they were recorded. What CatGT concatenated stands for its triggers, an original
        for what was exported from it, and a probe for its shanks in files of their own, or these for their probe where
        that has none.
    left_out : list of str
        Sentences about what is there beside them.
    """
    found: dict[str, list[Trigger]] = {}
    for trigger, probe in _all_triggers(path):
        found.setdefault(probe, []).append(trigger)
    left_out: list[str] = []
    triggers: dict[str, list[Trigger]] = {}
    for probe, several in found.items():
        described_only = not any(one.has_samples for one in several)
        if described_only and _shanks(probe, found):
            continue
        whole = _probe_of_shank(probe, found)
        if whole is not None:
            left_out.append(f"The files of {probe} hold a shank of {whole}, whose own file is read.")
            continue
        kept, sentences = _without_copies(probe, several)
        triggers[probe] = sorted(kept, key=lambda one: (one.gate, one.trigger))
        left_out += sentences
    return triggers, left_out


def _all_triggers(path: Path) -> list[tuple[Trigger, str]]:
    entries = list(path.iterdir())
    files = entries + [
        file
        for folder in entries
        if _PROBE_FOLDER.fullmatch(folder.name) and folder.is_dir()
        for file in folder.iterdir()
    ]
    kinds: dict[tuple[Path, str, str], dict[str, list[Path]]] = {}
    for file in sorted(files):
        match = _AP_FILE.fullmatch(file.name)
        if match is not None:
            stem = file.name[: match.end("probe")]
            kinds.setdefault((file.parent, stem, match["probe"]), {}).setdefault(match["kind"], []).append(file)
    triggers = []
    for (folder, stem, probe), its_files in kinds.items():
        match = _AP_FILE.fullmatch(f"{stem}.ap.bin")
        assert match is not None
        number = CONCATENATED if match["trigger"] == "cat" else int(match["trigger"] or 0)
        exported = match["exported"] is not None
        trigger = Trigger(match["run"], int(match["gate"] or 0), number, exported, folder, stem, its_files)
        triggers.append((trigger, probe))
    return triggers


def _without_copies(probe: str, triggers: Sequence[Trigger]) -> tuple[list[Trigger], list[str]]:
    """One trigger of those that hold the same samples, and sentences about the others."""
    sentences: list[str] = []
    originals = {(one.run, one.gate, one.trigger) for one in triggers if not one.exported and one.has_samples}
    kept = [one for one in triggers if not (one.exported and (one.run, one.gate, one.trigger) in originals)]
    sentences += [
        f"'{one.samples_path.name}' was exported from a file that lies beside it, which is read."
        for one in triggers
        if one not in kept and one.has_samples
    ]
    concatenated = [one for one in kept if one.trigger == CONCATENATED]
    if concatenated and len(concatenated) < len(kept):
        sentences.append(f"The triggers of {probe} are read as CatGT put them together ('{concatenated[0].stem}').")
        kept = concatenated
    sentences += [
        f"'{one.files['cbin'][0].name}' holds the same samples as the .bin beside it, which is read."
        for one in kept
        if {"bin", "cbin"} <= one.files.keys()
    ]
    return kept, sentences


def _shanks(probe: str, found: Mapping[str, object]) -> list[str]:
    """The shanks that have files of their own: imec1020 to imec1023 of imec2 ("Write separate shanks")."""
    number = probe.removeprefix("imec")
    if not number.isdecimal():
        return []
    names = (f"imec{1000 + 10 * int(number) + shank}" for shank in range(_MOST_SHANKS))
    return [name for name in names if name in found]


def _probe_of_shank(shank: str, found: Mapping[str, Sequence[Trigger]]) -> str | None:
    """The probe whose samples hold those of a shank; None where it has no file of its own."""
    for probe, triggers in found.items():
        if shank in _shanks(probe, found) and any(one.is_readable for one in triggers):
            return probe
    return None
