"""Writes recordings as SpikeGLX does: a folder for a run and gate, in it a folder for each Neuropixels probe.

Layout and fields of the .meta files:
https://billkarsh.github.io/SpikeGLX/Sgl_help/UserManual.html#output-file-format-and-tools,
https://billkarsh.github.io/SpikeGLX/Sgl_help/Metadata_30.html and
https://billkarsh.github.io/SpikeGLX/help/imroTables/; files of real runs are among the tests of probeinterface
(tests/data/spikeglx).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets_tests.recordings.writers.neuropixels import (
    LFP_DECIMATION,
    NUM_READOUT_CHANNELS,
    PROBE_TYPES,
    STRAIGHT_COLUMNS,
    Sites,
    nearest_sites,
    write_flat,
)

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_AP_GAIN, _LF_GAIN = 500, 250
_FIXED_GAIN = 100
# Range of the converter in volts and its largest count (Metadata_30: imAiRangeMax, imMaxInt).
_CONVERTERS = {0: (0.6, 512), 2013: (0.62, 2048)}
_SYNC_BIT = 64
_NIDQ_CHANNELS = 2


def write_spikeglx(
    recording: BaseRecording | Mapping[str, BaseRecording],
    folder: Path,
    *,
    run: str | None = None,
    gate: int = 0,
    part_number: str = STRAIGHT_COLUMNS,
    first_sample: int = 0,
    folder_per_probe: bool = True,
    lf: bool = True,
    sync: bool = True,
    nidq: bool = False,
) -> Path:
    """Write a run.

    A probe's sites can't be moved: each channel becomes the nearest site that has a readout channel of its own, only
    these are saved, and they stand in the order of the readout channels. The channels of `make_probe` are sites of the
    default part.

    Parameters
    ----------
    recording : BaseRecording or mapping of str to BaseRecording
        With gains and a probe; "imec0" or, by name, several probes. Each segment is a trigger.
    folder : Path
        The folder of the run and gate to make, "mouse1_g0" for example; it may exist.
    run : str or None
        Name of the run; None is the folder's name without the gate.
    gate : int
        Number of the gate.
    part_number : str
        The kind of probe, one of `PROBE_TYPES`.
    first_sample : int
        Samples from the start of acquisition to the first trigger; between triggers there is a second.
    folder_per_probe : bool
        Whether each probe has a folder of its own.
    lf : bool
        Write the local field potential too, where the probe has one (Neuropixels 1).
    sync : bool
        Save the sync channel behind the electrodes.
    nidq : bool
        Write a National Instruments device too, with one analog channel and one word of digital lines.

    Returns
    -------
    Path
        `folder`.
    """
    recordings = recording if isinstance(recording, Mapping) else {"imec0": recording}
    run = folder.name.removesuffix(f"_g{gate}") if run is None else run
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, probe_recording) in enumerate(recordings.items()):
        probe_folder = folder / f"{run}_g{gate}_{name}" if folder_per_probe else folder
        probe_folder.mkdir(exist_ok=True)
        sites = nearest_sites(probe_recording, part_number)
        bands = ("ap", "lf") if lf and PROBE_TYPES[part_number] == 0 else ("ap",)
        for trigger, start in enumerate(_first_samples(probe_recording, first_sample)):
            for band in bands:
                path = probe_folder / f"{run}_g{gate}_t{trigger}.{name}.{band}.bin"
                _write_band(probe_recording, trigger, path, band, sites, part_number, number, start, sync=sync)
    if nidq:
        first = next(iter(recordings.values()))
        for trigger, start in enumerate(_first_samples(first, first_sample)):
            _write_nidq(first, trigger, folder / f"{run}_g{gate}_t{trigger}.nidq.bin", start)
    return folder


def _first_samples(recording: BaseRecording, first_sample: int) -> list[int]:
    starts = [first_sample]
    for segment in range(recording.get_num_segments() - 1):
        starts.append(starts[-1] + recording.get_num_samples(segment) + int(recording.sampling_frequency))
    return starts


def _write_band(
    recording: BaseRecording,
    segment: int,
    path: Path,
    band: str,
    sites: Sites,
    part_number: str,
    probe_number: int,
    first_sample: int,
    *,
    sync: bool,
) -> None:
    probe_type = PROBE_TYPES[part_number]
    full_scale_v, max_count = _CONVERTERS[probe_type]
    decimation = 1 if band == "ap" else LFP_DECIMATION
    gain = _FIXED_GAIN if probe_type else {"ap": _AP_GAIN, "lf": _LF_GAIN}[band]
    num_saved, num_sites = len(sites.saved), NUM_READOUT_CHANNELS
    num_samples = recording.get_num_samples(segment) // decimation
    rate_hz = recording.sampling_frequency / decimation
    sha1 = write_flat(
        recording,
        segment,
        path,
        order=sites.order,
        gains_uv=np.full(num_saved, 1e6 * full_scale_v / max_count / gain),
        added=_one_hertz(num_samples, rate_hz)[:, None] if sync else None,
        decimation=decimation,
    )
    # In the order of acquisition, the local field potentials of a probe follow its action potentials.
    num_lf = 0 if probe_type else num_sites
    first_channel = 0 if band == "ap" else num_sites
    acquired = [first_channel + int(channel) for channel in sites.saved]
    labels = [f"{band.upper()}{channel}" for channel in sites.saved]
    if sync:
        acquired.append(num_sites + num_lf)
        labels.append("SY0")
    _write_meta(
        path,
        {
            "acqApLfSy": f"{num_sites},{num_lf},1",
            "appVersion": "20230815",
            "fileCreateTime": "2024-01-01T12:00:00",
            "fileName": path.as_posix(),
            "fileSHA1": sha1,
            "fileSizeBytes": path.stat().st_size,
            "fileTimeSecs": num_samples / rate_hz,
            "firstSample": first_sample // decimation,
            "gateMode": "Immediate",
            "imAiRangeMax": full_scale_v,
            "imAiRangeMin": -full_scale_v,
            "imCalibrated": "true",
            "imDatApi": "3.62",
            "imDatPrb_dock": 1,
            "imDatPrb_pn": part_number,
            "imDatPrb_port": probe_number + 1,
            "imDatPrb_slot": 2,
            "imDatPrb_sn": 22168303281 + probe_number,
            "imDatPrb_type": probe_type,
            "imMaxInt": max_count,
            "imSampRate": rate_hz,
            "nDataDirs": 1,
            "nSavedChans": len(acquired),
            "snsApLfSy": f"{num_saved if band == 'ap' else 0},{num_saved if band == 'lf' else 0},{int(sync)}",
            "snsSaveChanSubset": _ranges(acquired),
            "syncSourcePeriod": 1,
            "trigMode": "Immediate",
            "typeThis": "imec",
            "userNotes": "",
            "~imroTbl": _readout_table(sites, probe_type),
            "~muxTbl": sites.probe.annotations["adc_sampling_table"],
            "~snsChanMap": f"({num_sites},{num_lf},1)"
            + "".join(f"({label};{channel}:{channel})" for label, channel in zip(labels, acquired, strict=True)),
            "~snsGeomMap": _geometry(sites, part_number),
        },
    )


def _write_nidq(recording: BaseRecording, segment: int, path: Path, first_sample: int) -> None:
    num_samples, rate_hz = recording.get_num_samples(segment), recording.sampling_frequency
    pulses = _one_hertz(num_samples, rate_hz)
    np.column_stack([100 * pulses, pulses // _SYNC_BIT]).astype("<i2").tofile(path)
    _write_meta(
        path,
        {
            "acqMnMaXaDw": "0,0,1,1",
            "appVersion": "20230815",
            "fileName": path.as_posix(),
            "fileSizeBytes": path.stat().st_size,
            "fileTimeSecs": num_samples / rate_hz,
            "firstSample": first_sample,
            "nSavedChans": _NIDQ_CHANNELS,
            "niAiRangeMax": 5,
            "niAiRangeMin": -5,
            "niMAChans1": "",
            "niMAGain": 1,
            "niMNChans1": "",
            "niMNGain": 200,
            "niSampRate": rate_hz,
            "niXAChans1": "0",
            "niXDChans1": "0:7",
            "snsMnMaXaDw": "0,0,1,1",
            "snsSaveChanSubset": "all",
            "typeThis": "nidq",
            "~snsChanMap": "(0,0,1,1,1)(XA0;0:0)(XD0;1:1)",
        },
    )


def _write_meta(bin_path: Path, fields: Mapping[str, object]) -> None:
    lines = [
        f"{name}={value:.10g}" if isinstance(value, float) else f"{name}={value}" for name, value in fields.items()
    ]
    bin_path.with_suffix(".meta").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _readout_table(sites: Sites, probe_type: int) -> str:
    entries = [f"({probe_type},{NUM_READOUT_CHANNELS})"]
    for channel, site in enumerate(sites.all_sites):
        electrode = sites.electrode(site)
        bank = electrode // NUM_READOUT_CHANNELS
        if probe_type == 0:
            entries.append(f"({channel} {bank} 0 {_AP_GAIN} {_LF_GAIN} 1)")
        else:
            entries.append(f"({channel} {sites.shank(site)} {bank} 0 {electrode})")
    return "".join(entries)


def _geometry(sites: Sites, part_number: str) -> str:
    """The places of the saved channels, counted from the left edge of each shank."""
    from probeinterface.neuropixels_tools import _load_np_probe_features

    features = _load_np_probe_features()["neuropixels_probes"][part_number]
    edge = float(features["odd_row_horz_offset_left_edge_to_leftmost_electrode_center_um"])
    pitch = float(features["shank_pitch_um"])
    entries = [f"({part_number},{features['num_shanks']},{pitch:g},{float(features['shank_width_um']):g})"]
    for site in sites.all_sites[sites.saved]:
        x, y = sites.probe.contact_positions[site]
        entries.append(f"({sites.shank(site)}:{x + edge - pitch * sites.shank(site):g}:{y:g}:1)")
    return "".join(entries)


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as SpikeGLX lists them: "0:35,72:95,384"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}:{last}" for first, last in runs)


def _one_hertz(num_samples: int, rate_hz: float) -> np.ndarray:
    """The sync signal, a square wave of one hertz in a bit of its own, shape (samples,)."""
    return np.where(np.arange(num_samples) % rate_hz < rate_hz / 2, _SYNC_BIT, 0)
