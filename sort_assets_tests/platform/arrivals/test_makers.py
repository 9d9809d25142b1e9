"""Makers' files in the recordings root: what can be read is registered, of all others a scan says why not."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from sort_assets.platform.arrivals.dry_run import NEW, PROBLEM, DryRun
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.recordings.formats.table import KNOWN_FORMATS, may_be_file
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.arrivals.lab import Lab
from sort_assets_tests.recordings.formats.test_makers import MAKERS
from sort_assets_tests.recordings.writers import makers

BEGINNINGS = {
    "blackrock/a.ns5": b"NEURALCD\x02\x03",
    "blackrock/slow.ns2": b"NEURALCD\x02\x03",
    "blackrock/alone.nev": b"NEURALEV",
    "ripple/a.nf6": b"NEUCDFLT",
    "neuralynx/CSC1.ncs": b"######## Neuralynx".ljust(16384),
    "neuralynx spikes/TT1.ntt": b"######## Neuralynx",
    "neuralynx raw/a.nrd": b"######## Neuralynx",
    "in_the_root.ncs": b"######## Neuralynx",
    "plexon/a.plx": b"PLEX",
    "plexon/a.pl2": b"\x01",
    "plexon/alone.ddt": b"\x65",
    "spikegadgets/a.rec": b"<?xml version='1.0'?><Configuration>",
    "3brain/alone.bxr": b"\x89HDF\r\n\x1a\n",
    "mcs/a.raw": b"MCS MC_DataTool binary conversion",
    "mcs/alone.mcd": b"MCSSTRM ",
    "mcs/alone.msrd": b"\x01",
    "ced/a.smr": b"\x06\x00(C) CED 87",
    "ced/a.smrx": b"S64\x00",
    "edf/a.edf": b"0       ",
    "edf/alone.bdf": b"\xffBIOSEMI",
    "neuroscope/a.dat": b"\x01\x02",
    "tdt/Block-1/a.tsq": b"\x01",
    "tdt streamer/tank_Block-1_RSn1_Ch1.sev": b"\x01",
    "old open ephys/100_CH1.continuous": b"header.format = 'Open Ephys Data Format'",
    "kwik/experiment1_100.raw.kwd": b"\x89HDF\r\n\x1a\n",
    "alpha omega/a.mpx": b"\x3c\x00h",
    "axona/a.bin": b"ADU1",
    "axona/alone.set": b"trial_date Monday",
    "neuronexus/a_data.xdat": b"\x01\x02\x03\x04",
    "neuronexus/alone.xdat.json": b"{}",
    "axon/a.abf": b"ABF2",
    "neuroexplorer/a.nex": b"NEX1",
    "neuroexplorer/a.nex5": b"NEX5",
    "mountainsort/raw.mda": b"\xfc\xff\xff\xff",
}
"""What files of makers begin with; none goes on as it should."""
FOLDERS = {
    "neuralynx/CSC1.ncs",
    "tdt/Block-1/a.tsq",
    "tdt streamer/tank_Block-1_RSn1_Ch1.sev",
    "old open ephys/100_CH1.continuous",
    "alpha omega/a.mpx",
}
"""Those whose folder is the recording."""
HDF5 = {
    "3brain/a.brw": ["3BRecInfo"],
    "mcs/a.h5": ["Data/Recording_0/AnalogStream"],
    "mearec/a.h5": ["info", "recordings", "channel_positions"],
    "nix/a.nix": ["data"],
}


@pytest.fixture
def lab(home: Home, reader: HeaderReader) -> Iterator[Lab]:
    with home.instance() as instance:
        yield Lab(home, instance, reader)


def test_a_file_of_every_known_maker_has_a_line_with_the_reason(home: Home, reader: HeaderReader) -> None:
    root = home.roots.recordings
    (root / "sort_assets.yaml").write_text("arrival: {quiet_s: 0}\n")
    for name, beginning in BEGINNINGS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(beginning)
    (root / "neuroscope/a.xml").write_text("<parameters><acquisitionSystem>")
    (root / "axona/a.set").write_text("trial_date Monday")
    for name, groups in HDF5.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(root / name, "w") as file:
            file.attrs["format"] = "nix"
            for group in groups:
                file.create_group(group)

    with home.instance() as instance:
        found = {one.path: one for one in DryRun(instance, home.roots, reader).recordings()}

    expected = {str(Path(name).parent) if name in FOLDERS else name for name in [*BEGINNINGS, *HDF5]}
    assert set(found) == expected
    assert {one.what for one in found.values()} == {PROBLEM}
    assert all(one.problem and one.problem.message and one.problem.remedy for one in found.values())
    assert "pip install sonpy" in str(found["ced/a.smrx"].problem)
    assert "PL2FileReader.dll" in str(found["plexon/a.pl2"].problem)


def test_a_recording_without_positions_of_electrodes_says_so(home: Home, reader: HeaderReader) -> None:
    root, counts = home.roots.recordings, np.zeros((3000, 4), dtype=np.int16)
    (root / "sort_assets.yaml").write_text("arrival: {quiet_s: 0}\n")
    makers.write_blackrock(counts, root / "day1.ns5")
    makers.write_biocam(counts, root / "chip.brw")

    with home.instance() as instance:
        found = {one.path: one for one in DryRun(instance, home.roots, reader).recordings()}

    assert {one.what for one in found.values()} == {NEW}
    assert "recording.probe_file" in found["day1.ns5"].why
    assert not found["chip.brw"].why


def test_the_files_of_that_test_are_of_all_makers_in_the_table() -> None:
    names = [*BEGINNINGS, *HDF5]
    of_others = {
        ".meta",
        "nwb",
        "maxwell",
        "intan",
        "spikeglx",
        "open_ephys",
        "spikeinterface_binary",
        "spikeinterface_zarr",
    }

    taken = {
        one.name
        for one in KNOWN_FORMATS
        for name in names
        if one.may_be_file(Path(name).name, {Path(name).name, "a.xml", "a.set"})
        or one.may_be_folder(Path(name).parent.name, {Path(name).name})
    }

    assert {one.name for one in KNOWN_FORMATS} - of_others <= taken


@pytest.mark.parametrize(
    ("original", "converted"), [("a.mcd", "a.h5"), ("a.msrd", "a.h5"), ("a.bxr", "a.brw"), ("a.nex", "a.plx")]
)
def test_a_file_beside_what_it_was_converted_to_or_made_of_has_no_line(original: str, converted: str) -> None:
    assert may_be_file(original, {original})
    assert not may_be_file(original, {original, converted})


@pytest.mark.slow
def test_makers_files_are_registered_each_once_and_with_a_reader_what_nothing_recognises(lab: Lab) -> None:
    counts = np.random.default_rng(2).normal(0, 60, (15000, 4)).round().astype(np.int16)
    for name, maker in MAKERS.items():
        folder = lab.root / name
        folder.mkdir()
        path = maker.write(counts, folder / maker.file_name)
        if maker.gain_uv is None:
            Path(f"{path}.sort_assets.yaml").write_text("recording: {gain_to_uv: 0.5}")
    (lab.root / "blackrock/day1.nev").write_bytes(b"NEURALEV")
    makers.write_blackrock(counts[:500], lab.root / "blackrock/day1.ns2", rate_hz=1000.0)
    (lab.root / "whitematter").mkdir()
    (lab.root / "whitematter/HSW_1.rawbin").write_bytes(bytes(8) + counts.tobytes())
    lab.rules(
        "rules: [{match: '*', sort: false}, {match: '*.rawbin', recording: {reader: whitematter, arguments: "
        "{sampling_frequency: 25000, num_channels: 4}}}]\n"
    )

    lab.arrive()

    expected = {f"{name}~{maker.file_name}" for name, maker in MAKERS.items()}
    assert lab.keys() == expected | {"whitematter~HSW_1.rawbin"}
    assert not lab.catalog.with_problems()
