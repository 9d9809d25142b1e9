"""Files as other makers' programs write them, each from the maker's own description of its format.

Each writer takes counts of shape (samples, channels) and int16, and writes at `RATE_HZ`. What the files are to be read
as stands in `sort_assets_tests/recordings/formats/test_makers.py`.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from neo.rawio import alphaomegarawio, plexonrawio, spike2rawio, tdtrawio

RATE_HZ = 30000.0


def write_blackrock(
    counts: np.ndarray,
    path: Path,
    *,
    pauses: tuple[tuple[int, int], ...] = (),
    rate_hz: float = RATE_HZ,
    times_s: np.ndarray | None = None,
) -> Path:
    """Blackrock's NSx file, specification 2.3 ("NEV, NSx file format", LB-0023): a data packet for each stretch.

    Parameters
    ----------
    pauses : tuple of (int, int)
        Where the recording was paused: the first sample afterwards, and its timestamp in 1/30000 s.
    times_s : np.ndarray or None
        Of each sample, for version 3.0 with the Precision Time Protocol: a packet for each sample.
    """
    num_channels = counts.shape[1]
    header_bytes = 314 + 66 * num_channels
    version, per_second = ((2, 3), 30000) if times_s is None else ((3, 0), 1_000_000_000)
    period = round(30000 / rate_hz)
    basic = struct.pack("<8sBBI16s256sII", b"NEURALCD", *version, header_bytes, b"30 kS/s", b"", period, per_second)
    basic += struct.pack("<8HI", 2026, 11, 1, 30, 10, 0, 0, 0, num_channels)
    extended = b"".join(
        struct.pack("<2sH16sBBhhhh16sIIHIIH", b"CC", channel + 1, f"elec{channel + 1}".encode(), 1, channel,
                    -32764, 32764, -8191, 8191, b"uV", 300, 1, 1, 7500000, 3, 1)
        for channel in range(num_channels)
    )  # fmt: skip
    if times_s is not None:
        packet = np.dtype([("one", "u1"), ("time", "<u8"), ("points", "<u4"), ("samples", "<i2", num_channels)])
        packed = np.zeros(len(counts), dtype=packet)
        packed["one"], packed["points"], packed["samples"] = 1, 1, counts
        packed["time"] = np.round(times_s * per_second)
        path.write_bytes(basic + extended + packed.tobytes())
        return path
    starts = [(0, 0), *pauses]
    ends = [*(start for start, _ in pauses), len(counts)]
    packets = b"".join(
        struct.pack("<BII", 1, timestamp, end - start) + counts[start:end].astype("<i2").tobytes()
        for (start, timestamp), end in zip(starts, ends, strict=True)
    )
    path.write_bytes(basic + extended + packets)
    return path


def write_neuralynx(
    counts: np.ndarray, folder: Path, *, first_us: int = 5_000_000, gap_before_record: int = 0, gap_us: int = 0
) -> Path:
    """Neuralynx' continuously sampled channels (.ncs): a header of 16 kB, and records of 512 samples."""
    folder.mkdir(parents=True, exist_ok=True)
    num_records = len(counts) // 512
    record = np.dtype([("time", "<u8"), ("channel", "<u4"), ("rate", "<u4"), ("valid", "<u4"), ("samples", "<i2", 512)])
    for channel in range(counts.shape[1]):
        header = (
            "######## Neuralynx Data File Header\r\n"
            "-FileType NCS\r\n-FileVersion 3.4\r\n-RecordSize 1044\r\n"
            '-ApplicationName Cheetah "6.4.0"\r\n-AcquisitionSystem AcqSystem1 DigitalLynxSX\r\n'
            f"-SamplingFrequency {RATE_HZ:g}\r\n-ADMaxValue 32767\r\n-ADBitVolts 0.0000000305\r\n"
            f"-AcqEntName CSC{channel + 1}\r\n-NumADChannels 1\r\n-ADChannel {channel}\r\n"
            "-InputRange 1000\r\n-InputInverted True\r\n-TimeCreated 2026/11/30 10:00:00\r\n"
            "-TimeClosed 2026/11/30 10:10:00\r\n-HardwareSubSystemType DigitalLynxSX\r\n"
        )
        records = np.zeros(num_records, dtype=record)
        records["time"] = first_us + np.round(np.arange(num_records) * 512 / RATE_HZ * 1e6).astype(int)
        if gap_us:
            records["time"][gap_before_record:] += gap_us
        records["channel"], records["rate"], records["valid"] = channel, round(RATE_HZ), 512
        records["samples"] = -counts[: num_records * 512, channel].reshape(num_records, 512)
        (folder / f"CSC{channel + 1}.ncs").write_bytes(header.encode().ljust(16384, b"\0") + records.tobytes())
    return folder


def write_plexon(counts: np.ndarray, path: Path, *, gap_before_block: int = 0, gap_ticks: int = 0) -> Path:
    """Plexon's .plx, version 106 ("Plexon data file structure", SDK): wide-band channels in blocks of 100 samples."""
    header = np.zeros(1, dtype=plexonrawio.GlobalHeader)
    header["MagicNumber"], header["Version"], header["ADFrequency"] = 0x58454C50, 106, 40000
    header["NumSlowChannels"], header["WaveformFreq"], header["BitsPerSpikeSample"] = counts.shape[1], 40000, 16
    header["BitsPerSlowSample"], header["SpikeMaxMagnitudeMV"], header["SlowMaxMagnitudeMV"] = 16, 3000, 5000
    header["SpikePreAmpGain"], header["Year"], header["Month"], header["Day"] = 1000, 2026, 11, 30
    channels = np.zeros(counts.shape[1], dtype=plexonrawio.SlowChannelHeader)
    blocks = []
    for channel in range(counts.shape[1]):
        channels[channel]["Name"], channels[channel]["Channel"] = f"WB{channel + 1:02}".encode(), channel
        channels[channel]["ADFreq"], channels[channel]["Gain"], channels[channel]["PreampGain"] = 40000, 1, 1000
    for number, start in enumerate(range(0, len(counts), 100)):
        for channel in range(counts.shape[1]):
            samples = counts[start : start + 100, channel].astype("<i2")
            block = np.zeros(1, dtype=plexonrawio.DataBlockHeader)
            block["Type"], block["Channel"], block["NumberOfWaveforms"] = 5, channel, 1
            block["TimeStamp"] = 4000 + start + (gap_ticks if gap_before_block and number >= gap_before_block else 0)
            block["NumberOfWordsInWaveform"] = len(samples)
            blocks += [block.tobytes(), samples.tobytes()]
    path.write_bytes(header.tobytes() + channels.tobytes() + b"".join(blocks))
    return path


def write_spikegadgets(
    counts: np.ndarray, path: Path, *, lost_before: int = 0, lost: int = 0, scaled: bool = True
) -> Path:
    """SpikeGadgets' .rec: the workspace as XML, and a packet for each sample (Trodes' wiki, recording files)."""
    num_channels = counts.shape[1]
    scaling = ' spikeScalingToUv="0.195"' if scaled else ""
    trodes = "".join(
        f'<SpikeNTrode id="{number + 1}"{scaling}><SpikeChannel hwChan="{number}" maxDisp="200"/></SpikeNTrode>\n'
        for number in range(num_channels)
    )
    header = (
        '<?xml version="1.0"?>\n<!DOCTYPE Trodes>\n<Configuration>\n<GlobalConfiguration systemTimeAtCreation="1"/>\n'
        f'<HardwareConfiguration samplingRate="{RATE_HZ:g}" numChannels="{num_channels}">\n'
        '<Device name="Controller_DIO" numBytes="1" available="1" packetOrderPreference="10"/>\n'
        f'</HardwareConfiguration>\n<SpikeConfiguration chanPerChip="{num_channels}" device="intan">\n{trodes}'
        "</SpikeConfiguration>\n</Configuration>\n"
    )
    packet = np.dtype([("sync", "u1"), ("dio", "u1"), ("number", "<u4"), ("samples", "<i2", num_channels)])
    packets = np.zeros(len(counts), dtype=packet)
    packets["sync"], packets["samples"] = 0x55, counts
    packets["number"] = 9000 + np.arange(len(counts)) + lost * (np.arange(len(counts)) >= lost_before)
    path.write_bytes(header.encode() + packets.tobytes())
    return path


def write_biocam(counts: np.ndarray, path: Path) -> Path:
    """3Brain's .brw of version 3 (BrainWave 4 documentation), 12 bits, its first channels of 64 x 64 electrodes."""
    num_channels = counts.shape[1]
    with h5py.File(path, "w") as file:
        variables = file.create_group("3BRecInfo/3BRecVars")
        values: dict[str, Any] = {
            "BitDepth": np.uint8(12),
            "MaxVolt": 4125.0,
            "MinVolt": -4125.0,
            "SignalInversion": 1.0,
        }
        values |= {"NRecFrames": len(counts), "SamplingRate": RATE_HZ, "ExperimentType": 0}
        for name, value in values.items():
            variables[name] = np.array([value])
        file["3BRecInfo/3BMeaStreams/Raw/Chs"] = np.array(
            [(1 + channel // 64, 1 + channel % 64) for channel in range(num_channels)],
            dtype=[("Row", "<i2"), ("Col", "<i2")],
        )
        file.create_group("3BData").attrs["Version"] = 101
        file["3BData/Raw"] = (counts.astype(int) + 2048).astype("<u2").ravel()
    return path


def write_biocam_4(
    counts: np.ndarray, path: Path, *, wells: tuple[str, ...] = ("Well_A1",), electrodes: tuple[int, ...] | None = None
) -> Path:
    """3Brain's .brw of version 4 (BrainWave 5, "Documentation of brw 4.x"), 12 bits."""
    num_samples, num_channels = counts.shape
    settings = {
        "ValueConverter": {
            "MaxAnalogValue": 4125.0,
            "MinAnalogValue": -4125.0,
            "MaxDigitalValue": 4095,
            "MinDigitalValue": 0,
            "ScaleFactor": 1.0,
        },
        "TimeConverter": {"FrameRate": RATE_HZ},
        "MeaPlate": {"Model": "Accura"},
    }
    with h5py.File(path, "w") as file:
        file["ExperimentSettings"] = np.array([json.dumps(settings).encode()], dtype=h5py.string_dtype())
        file["TOC"] = np.array([[0, num_samples]])
        for well in wells:
            file[f"{well}/StoredChIdxs"] = np.arange(num_channels) if electrodes is None else np.array(electrodes)
            file[f"{well}/Raw"] = (counts.astype(int) + 2048).astype("<u2").ravel()
    return path


def write_mcs_raw(counts: np.ndarray, path: Path, *, signed: bool = False, others: int = 0) -> Path:
    """The binary file that MC_DataTool exports with its header; the last channels are analogue inputs."""
    zero = 0 if signed else 32768
    num_electrodes = counts.shape[1] - others
    names = ";".join(
        [*(f"El_{channel + 11}" for channel in range(num_electrodes)), *(f"An_A{one + 1}" for one in range(others))]
    )
    header = (
        "MCS MC_DataTool binary conversion\r\nVersion 2.6.15\r\n"
        f'MC_REC file = "mouse.mcd"\r\nSample rate = {RATE_HZ:g}\r\nADC zero = {zero}\r\nEl = 0.2500µV/AD\r\n'
        f"An = 125.0000µV/AD\r\nStreams = {names}\r\nEOH\r\n"
    )
    samples = (counts.astype(int) + zero).astype("<i2" if signed else "<u2")
    path.write_bytes(header.encode("cp1252") + samples.tobytes())
    return path


def write_mcs_hdf5(
    counts: np.ndarray, path: Path, *, gap_us: int = 0, gap_before: int = 0, first_us: int = 1000, reverse: bool = False
) -> Path:
    """The HDF5 file of Multi Channel DataManager ("MCS HDF5 protocol"), 24-bit counts of 59.6 nV.

    The rows of samples may be in the reverse order of the channels' descriptions.
    """
    num_channels = counts.shape[1]
    tick_us = round(1e6 / 20000)
    info = np.zeros(num_channels, dtype=[
        ("ChannelID", "<i4"), ("RowIndex", "<i4"), ("Label", "S8"), ("Unit", "S4"), ("Exponent", "<i4"),
        ("ADZero", "<i4"), ("Tick", "<i8"), ("ConversionFactor", "<i8"),
    ])  # fmt: skip
    info["ChannelID"] = info["RowIndex"] = np.arange(num_channels)
    if reverse:
        info["RowIndex"] = info["RowIndex"][::-1]
    info["Label"] = [f"E{channel + 1}".encode() for channel in range(num_channels)]
    info["Unit"], info["Exponent"], info["Tick"], info["ConversionFactor"] = b"V", -12, tick_us, 59605
    with h5py.File(path, "w") as file:
        stream = file.create_group("Data/Recording_0/AnalogStream/Stream_0")
        stream.attrs["Label"] = b"Electrode Data"
        stream["ChannelData"] = counts.T[info["RowIndex"]].astype("<i4")
        stream["InfoChannel"] = info
        rows = [[first_us, 0, len(counts) - 1]]
        if gap_us:
            after = first_us + gap_before * tick_us + gap_us
            rows = [[first_us, 0, gap_before - 1], [after, gap_before, len(counts) - 1]]
        stream["ChannelDataTimeStamps"] = np.array(rows, dtype="<i8")
    return path


def write_spike2(
    counts: np.ndarray, path: Path, *, unit: bytes = b"volt", pause_before: int = 0, pause: int = 0
) -> Path:
    """CED's 32-bit son file (.smr), version 6 ("The SON data storage library"): blocks of 1000 samples."""
    num_channels = counts.shape[1]
    header = np.zeros(1, dtype=spike2rawio.headerDescription)
    header["system_id"], header["copyright"], header["us_per_time"] = 6, b"(C) CED 87", 10
    header["time_per_adc"], header["channels"], header["dtime_base"] = 1, num_channels, 1e-6
    starts = sorted({*range(0, len(counts), 1000), pause_before} - ({0} if not pause_before else set())) or [0]
    starts = sorted({0, *starts})
    ends = [*starts[1:], len(counts)]
    first = 512 + 140 * num_channels
    place, blocks, channels = first, [], []
    for channel in range(num_channels):
        positions = []
        for start, end in zip(starts, ends, strict=True):
            positions.append(place)
            place += 20 + 2 * (end - start)
        title = bytes([4]) + f"E{channel:03}".encode()
        about = np.zeros(1, dtype=spike2rawio.channelHeaderDesciption1)
        about["firstblock"], about["lastblock"], about["blocks"] = positions[0], positions[-1], len(starts)
        about["title"], about["kind"], about["l_chan_dvd"], about["phy_chan"] = title, 1, 4, channel
        about["ideal_rate"] = 25000
        text = about.tobytes() + struct.pack("<ff6sh", 0.002, 0.0, bytes([len(unit)]) + unit, 1)
        channels.append(text.ljust(140, b"\0"))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            later = pause if pause and start >= pause_before else 0
            block = np.zeros(1, dtype=spike2rawio.blockHeaderDesciption)
            block["pred_block"] = positions[number - 1] if number else -1
            block["succ_block"] = positions[number + 1] if number + 1 < len(positions) else -1
            block["start_time"], block["end_time"] = 4 * start + later, 4 * (end - 1) + later
            block["channel_num"], block["items"] = channel + 1, end - start
            blocks += [block.tobytes(), counts[start:end, channel].astype("<i2").tobytes()]
    path.write_bytes(header.tobytes().ljust(512, b"\0") + b"".join(channels) + b"".join(blocks))
    return path


def write_neuroscope(counts: np.ndarray, path: Path) -> Path:
    """Neuroscope's .dat, and the .xml of the same name that describes it (neurosuite.sourceforge.net)."""
    num_channels = counts.shape[1]
    listed = "".join(f'<channel skip="0">{channel}</channel>' for channel in range(num_channels))
    path.with_suffix(".xml").write_text(
        '<?xml version=\'1.0\'?>\n<parameters version="1.0" creator="neuroscope-2.0.0">\n'
        f"<acquisitionSystem><nBits>16</nBits><nChannels>{num_channels}</nChannels>"
        f"<samplingRate>{RATE_HZ:g}</samplingRate><voltageRange>20</voltageRange><amplification>1000</amplification>"
        "<offset>0</offset></acquisitionSystem>\n"
        f"<anatomicalDescription><channelGroups><group>{listed}</group></channelGroups></anatomicalDescription>\n"
        "</parameters>\n"
    )
    path.write_bytes(counts.astype("<i2").tobytes())
    return path


def write_tdt(
    counts: np.ndarray,
    folder: Path,
    *,
    sev: bool = False,
    gap_before_block: int = 0,
    gap_s: float = 0.0,
    in_tev: np.ndarray | None = None,
) -> Path:
    """A block of Tucker-Davis' tank ("TTank file format"): index (.tsq), stores (.Tbk), samples (.tev or .sev).

    Parameters
    ----------
    in_tev : np.ndarray or None
        Counts of a second store, Wav1, in the .tev, where those of the first, RSn1, are in .sev files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_channels, points, start_s = counts.shape[1], 256, 1.6e9
    num_blocks = len(counts) // points
    stem = folder / f"tank_{folder.name}"
    rows = [(0, 0, b"", 0, 0, 0.0, 0, 0, 0.0), (0, 34817, b"\x01", 0, 0, start_s, 0, 0, 0.0)]
    samples = []
    for block in range(num_blocks):
        for channel in range(num_channels):
            time_s = (
                start_s
                + 0.5
                + block * points / RATE_HZ
                + (gap_s if gap_before_block and block >= gap_before_block else 0)
            )
            offset = 2 * points * len(samples)
            samples.append(counts[block * points : (block + 1) * points, channel].astype("<i2").tobytes())
            if sev:
                offset = 40 + 2 * points * block
            rows.append((10 + points // 2, 33025, b"RSn1", channel + 1, 0, time_s, offset, 2, RATE_HZ))
    second = [] if in_tev is None else in_tev[: num_blocks * points].reshape(num_blocks, points, num_channels)
    for block in range(len(second)):
        for channel in range(num_channels):
            offset = 2 * points * (block * num_channels + channel)
            time_s = start_s + 0.5 + block * points / RATE_HZ
            rows.append((10 + points // 2, 33025, b"Wav1", channel + 1, 0, time_s, offset, 2, RATE_HZ))
    tev = b"".join(np.ascontiguousarray(of_block.T, "<i2").tobytes() for of_block in second)
    rows.append((0, 34817, b"\x02", 0, 0, start_s + 60, 0, 0, 0.0))
    stem.with_suffix(".tsq").write_bytes(np.array(rows, dtype=tdtrawio.tsq_dtype).tobytes())
    stem.with_suffix(".tdx").write_bytes(b"")
    if sev:
        for channel in range(num_channels):
            own = counts[: num_blocks * points, channel].astype("<i2").tobytes()
            (folder / f"{stem.name}_RSn1_Ch{channel + 1}.sev").write_bytes(bytes(40) + own)
    stem.with_suffix(".tev").write_bytes(tev or bytes(8) if sev else b"".join(samples))
    fields = {"StoreName": "RSn1", "HeadName": "RSn1|0", "Enabled": 1, "CircType": 0, "NumChan": num_channels}
    fields |= {"StrobeMode": 0, "TankEvType": 33025, "NumPoints": points, "DataFormat": 2, "SampleFreq": RATE_HZ}
    stores = [fields] if in_tev is None else [fields, {**fields, "StoreName": "Wav1", "HeadName": "Wav1|0"}]
    text = "".join(
        "[STOREHDRITEM]" + "".join(f"NAME={name};TYPE=X;VALUE={value};\r\n" for name, value in store.items())
        for store in stores
    )
    stem.with_suffix(".Tbk").write_text(f"{text}[USERNOTEDELIMITER]")
    return folder


def write_open_ephys_legacy(
    counts: np.ndarray, folder: Path, *, lost_before_record: int = 0, lost_records: int = 0
) -> Path:
    """Open Ephys' format before 0.6 (wiki, "Open Ephys format"): a file for each channel, records of 1024 samples."""
    folder.mkdir(parents=True, exist_ok=True)
    num_records = len(counts) // 1024
    for channel in range(counts.shape[1]):
        header = (
            "header.format = 'Open Ephys Data Format';\nheader.version = 0.4;\nheader.header_bytes = 1024;\n"
            "header.date_created = '1-Mar-2016 100000';\n"
            f"header.description = '';\nheader.channel = 'CH{channel + 1}';\nheader.channelType = 'Continuous';\n"
            f"header.sampleRate = {RATE_HZ:g};\nheader.blockLength = 1024;\nheader.bufferSize = 1024;\n"
            "header.bitVolts = 0.195;\n"
        )
        records = []
        for number in range(num_records):
            lost = lost_records if lost_before_record and number >= lost_before_record else 0
            samples = counts[number * 1024 : (number + 1) * 1024, channel].astype(">i2").tobytes()
            records.append(struct.pack("<qHH", 6000 + 1024 * (number + lost), 1024, 0) + samples)
            records.append(bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 255]))
        (folder / f"100_CH{channel + 1}.continuous").write_bytes(header.encode().ljust(1024) + b"".join(records))
    return folder


def write_axona(counts: np.ndarray, path: Path) -> Path:
    """Axona's raw data (.bin): packets of three samples of 64 channels ("DacqUSB file formats"), and its .set."""
    from neo.rawio.axonarawio import AxonaRawIO

    num_packets, places = len(counts) // 3, AxonaRawIO.channel_memory_offset
    packet = np.dtype([("id", "S4"), ("head", "u1", 28), ("samples", "<i2", (3, 64)), ("tail", "u1", 16)])
    packets = np.zeros(num_packets, dtype=packet)
    packets["id"] = b"ADU1"
    for channel in range(counts.shape[1]):
        packets["samples"][:, :, places[channel]] = counts[: 3 * num_packets, channel].reshape(-1, 3)
    path.write_bytes(packets.tobytes())
    settings = [
        ("trial_date", "Monday, 30 Nov 2026"),
        ("trial_time", "10:00:00"),
        ("duration", "1"),
        ("rawRate", "48000"),
    ]
    settings += [("ADC_fullscale_mv", "1500"), ("Spike2msMode", "0"), ("pretrigSamps", "10")]
    settings += [(f"gain_ch_{channel}", "5000") for channel in range(64)]
    settings += [(f"collectMask_{number + 1}", str(int(4 * number < counts.shape[1]))) for number in range(16)]
    path.with_suffix(".set").write_bytes("".join(f"{key} {value}\r\n" for key, value in settings).encode())
    return path


def write_neuronexus(microvolts: np.ndarray, path: Path, *, lost_before: int = 0, lost: int = 0) -> Path:
    """NeuroNexus' Allego (.xdat): samples as float32 in microvolts, numbers of samples, and a description as JSON."""
    stem = path.name.removesuffix("_data.xdat")
    num_samples, num_channels = microvolts.shape
    path.write_bytes(microvolts.astype("<f4").tobytes())
    numbers = 3000 + np.arange(num_samples) + lost * (np.arange(num_samples) >= lost_before)
    path.with_name(f"{stem}_timestamp.xdat").write_bytes(numbers.astype("<i8").tobytes())
    described = {
        "status": {
            "samp_freq": RATE_HZ, "shape": [num_samples, num_channels], "start_time": "2026-11-30T10:00:00.0+00:00",
            "timestamp_range": [int(numbers[0]), int(numbers[-1])],
            "t_range": [numbers[0] / RATE_HZ, numbers[-1] / RATE_HZ],
        },
        "sapiens_base": {"biointerface_map": {
            "chan_name": [f"pri_{channel}" for channel in range(num_channels)],
            "ntv_chan_name": [f"pri_{channel}" for channel in range(num_channels)],
            "chan_type": ["ai0"] * num_channels,
        }},
    }  # fmt: skip
    path.with_name(f"{stem}.xdat.json").write_text(json.dumps(described))
    return path


def write_alphaomega(counts: np.ndarray, folder: Path, *, lost_before_block: int = 0, lost: int = 0) -> Path:
    """Alpha Omega's .mpx of version 4 ("MPX file format"), 38.147 microvolts for a bit, amplified 20 times."""
    folder.mkdir(parents=True, exist_ok=True)

    def block(kind: bytes, content: bytes) -> bytes:
        return alphaomegarawio.HeaderType.pack(3 + len(content), kind) + content

    when = (10, 0, 0, 0, 30, 11, 2026, 1)
    blocks = [
        block(
            b"h",
            alphaomegarawio.SDataHeader.pack(0, 1, *when, 2.0, 2.0 + len(counts) / 44000, 0, 4, b"ALab SNR", b"", 0),
        )
    ]
    for channel in range(counts.shape[1]):
        about = alphaomegarawio.Type2DataBlock.pack(0, 1, 1, 10000 + channel, 0, 0, 0)
        about += alphaomegarawio.SDefAnalog.pack(0, 38.147, 44.0, 100, 0)
        about += alphaomegarawio.SDefContinAnalog.pack(0.0, 2000)
        blocks.append(block(b"2", about + f"RAW {channel + 1}".encode() + b"\0"))
    for number, start in enumerate(range(0, len(counts), 100)):
        first = 88000 + start + (lost if lost_before_block and number >= lost_before_block else 0)
        for channel in range(counts.shape[1]):
            samples = counts[start : start + 100, channel].astype("<i2").tobytes()
            content = alphaomegarawio.SDataChannel.pack(b"\0", 10000 + channel) + samples
            blocks.append(block(b"5", content + alphaomegarawio.SDataChannel_sample_id.pack(first)))
    blocks.append(alphaomegarawio.HeaderType.pack(65535, b"\0"))
    (folder / "F261130-0001.mpx").write_bytes(b"".join(blocks))
    return folder


def write_edf(counts: np.ndarray, path: Path) -> Path:
    """European Data Format, written by pyEDFlib: 16 bits over -3276.8 to 3276.7 microvolts."""
    from pyedflib import EdfWriter

    with EdfWriter(str(path), counts.shape[1]) as writer:
        writer.setDatarecordDuration(0.5)
        for channel in range(counts.shape[1]):
            about = {
                "label": f"E{channel}",
                "dimension": "uV",
                "sample_frequency": RATE_HZ,
                "transducer": "",
                "prefilter": "",
            }
            about |= {"physical_min": -3276.8, "physical_max": 3276.7, "digital_min": -32768, "digital_max": 32767}
            writer.setSignalHeader(channel, about)
        writer.writeSamples([counts[:, channel].astype(np.int32) for channel in range(counts.shape[1])], digital=True)
    return path


def write_nix(microvolts: np.ndarray, path: Path) -> Path:
    """A NIX file, written by neo."""
    from neo import AnalogSignal, Block, Segment
    from neo.io import NixIO
    from quantities import Hz, s

    segment, block = Segment(), Block()
    segment.analogsignals.append(
        AnalogSignal(microvolts.astype("float32"), units="uV", sampling_rate=RATE_HZ * Hz, t_start=2.0 * s)
    )
    block.segments.append(segment)
    file = NixIO(str(path), "ow")
    file.write_block(block)
    file.close()
    return path
