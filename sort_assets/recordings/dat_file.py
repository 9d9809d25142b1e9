"""The flat binary `.dat` that sorters read, and its description beside it.

The file holds the filtered recording, sample after sample, all channels of a sample together (C order). It is
written in one streaming pass by threads that read, filter, round and check chunks (`dat_chunks`) while one thread
writes and hashes them in order. SpikeInterface's own writer (up to 0.105.3) collects garbage after every chunk, which
takes several times as long as its filter.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.errors import DamagedArtefactError, MissingArtefactError, RecordingError
from sort_assets.machine.threads import affordable_threads
from sort_assets.recordings.dat_chunks import INT16_MAX, DatChunk, dat_chunks
from sort_assets.recordings.inspection import MAD_OF_UNIT_NORMAL
from sort_assets.recordings.probes import planar_probes

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

HEADROOM = 8.0
"""Ratio of the full scale of an int16 `.dat` to the largest value in the sampled chunks."""
SMALLEST_FULL_SCALE_UV = 500.0
"""Full scale of a recording that is nearly silent where it was sampled."""
KEPT_ANNOTATIONS = ("boundaries", "clocks", "overlapping_samples", "removed_channels")
"""Annotations of the recording that are stored with the `.dat`."""
_STATED_ELSEWHERE = ("contact_vector", "location", "group", "gain_to_uV", "offset_to_uV")
_OF_OTHER_COUNTS = ("noise_level_", "gain_to_physical_unit", "offset_to_physical_unit")
"""Prefixes of properties that SpikeInterface would reuse, although they are wrong for the counts of the `.dat`."""
_NOISE_SAMPLES = 10_000
"""Of each channel, from which its noise is estimated: within 1 %."""
_SAMPLED_CHUNKS = 20
_SAMPLED_CHUNK_S = 0.1

Progress = Callable[[float], None]


@dataclass(frozen=True)
class DatDescription:
    """What is in a `.dat`; stored as JSON under the same name with the suffix `.json`.

    Attributes
    ----------
    dtype : str
        "int16" or "float32".
    gain_to_uv : float
        Microvolts per count; the offset is always 0.
    num_samples : int
        Samples per channel.
    sampling_frequency : float
        In Hz.
    start_time_s : float
        Time of the first sample in seconds.
    channel_ids : list
        In the order of the columns.
    groups : list or None
        The channels' group (shank, tetrode) in the same order; None when the recording has no groups.
    probegroup : dict or None
        In probeinterface's own dictionary form.
    properties : dict
        Other properties of the channels that are one text, number or truth value each: brain area, channel name.
    annotations : dict
        The recording's annotations that JSON can hold: boundaries of files, removed channels.
    is_filtered : bool
        Whether a filter stands in the recording's history.
    peak_uv : float
        Largest absolute value written, in microvolts.
    blake2b : str
        Hash of the file's bytes.
    median_noise_uv : float or None
        Median over channels of the noise, from every n-th sample of the whole file; None in files of earlier versions.
    """

    dtype: str
    gain_to_uv: float
    num_samples: int
    sampling_frequency: float
    start_time_s: float
    channel_ids: list[Any]
    groups: list[Any] | None
    probegroup: dict[str, Any] | None
    properties: dict[str, list[Any]]
    annotations: dict[str, Any]
    is_filtered: bool
    peak_uv: float
    blake2b: str
    median_noise_uv: float | None = None

    @property
    def num_bytes(self) -> int:
        """Size that the `.dat` must have."""
        return self.num_samples * len(self.channel_ids) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class _Seen:
    """What was found in the samples while they were written."""

    peak_uv: float
    median_noise_uv: float
    blake2b: str


def description_path(dat_path: Path) -> Path:
    """The path of the description of a `.dat`."""
    return dat_path.with_suffix(".json")


def write_dat(
    recording: BaseRecording,
    dat_path: Path,
    *,
    dtype: str = "int16",
    gain_to_uv: float | None = None,
    n_jobs: int = 1,
    chunk_duration_s: float = 1.0,
    progress: Progress | None = None,
) -> DatDescription:
    """Write a recording in microvolts as a `.dat` with its description.

    Memory: each thread takes about six times its chunk as float32, which is 270 MB for a second of 384 channels at
    30 kHz. There are fewer threads than `n_jobs` where all together would take more than a quarter of the memory that
    is available (`affordable_threads`).

    Nothing is clipped: should the sampled chunks have missed a large artefact, the file is written a second time with
    the scale that the first pass found.

    Parameters
    ----------
    recording : BaseRecording
        Single segment, in microvolts (gain 1, offset 0).
    dat_path : Path
        The file to write.
    dtype : {"int16", "float32"}
        Sample type.
    gain_to_uv : float or None
        Microvolts per count for int16; None chooses it from seeded random chunks.
    n_jobs : int
        Largest number of threads that read and filter.
    chunk_duration_s : float
        Seconds per chunk.
    progress : callable or None
        Called with the fraction written, in [0, 1].

    Raises
    ------
    NonFiniteSamplesError
        When the recording holds NaN or infinite values.
    RecordingError
        When it does not fit into int16 with the given gain.
    """
    n_jobs = affordable_threads(n_jobs, recording, chunk_duration_s)
    gain = 1.0 if dtype == "float32" else gain_to_uv or choose_gain(recording)
    seen = _write_pass(recording, dat_path, np.dtype(dtype), gain, n_jobs, chunk_duration_s, progress)
    if dtype == "int16" and round(seen.peak_uv / gain) > INT16_MAX:
        needed = 1.01 * seen.peak_uv / INT16_MAX
        if gain_to_uv is not None:
            dat_path.unlink()
            raise RecordingError(
                f"The recording reaches {seen.peak_uv:.0f} microvolts, which int16 can't hold at {gain_to_uv} per "
                "count.",
                remedy=f"Set recording.dat_gain_to_uv to at least {needed:.4g}, or to null to have it chosen.",
            )
        gain = needed
        seen = _write_pass(recording, dat_path, np.dtype(dtype), gain, n_jobs, chunk_duration_s, progress)
    description = _describe(recording, dtype, gain, seen)
    description_path(dat_path).write_text(json.dumps(asdict(description), indent=1), encoding="utf-8")
    return description


def choose_gain(recording: BaseRecording, *, seed: int = 0) -> float:
    """Microvolts per count that leave `HEADROOM` over the largest value in seeded random chunks."""
    rng = np.random.default_rng(seed)
    num_samples = recording.get_num_samples()
    length = min(num_samples, max(1, int(_SAMPLED_CHUNK_S * recording.sampling_frequency)))
    starts = np.sort(rng.integers(0, num_samples - length + 1, size=_SAMPLED_CHUNKS))
    # By the compiled steps that write the file: SpikeInterface's median over channels takes many times as long.
    chunks = dat_chunks(recording, np.dtype(np.float32), 1.0, _SAMPLED_CHUNK_S)
    peak_uv = max(chunks.peak_uv(int(start), int(start) + length) for start in starts)
    # NaN is refused later, by the pass that sees every sample and can say where it is.
    full_scale_uv = max(HEADROOM * peak_uv, SMALLEST_FULL_SCALE_UV) if np.isfinite(peak_uv) else SMALLEST_FULL_SCALE_UV
    return full_scale_uv / INT16_MAX


def read_description(dat_path: Path) -> DatDescription:
    """Read the description of a `.dat`, and check the file's size against it.

    Raises
    ------
    MissingArtefactError
        When the file or its description is not there.
    DamagedArtefactError
        When the description can't be read, or the file's size is not what it says.
    """
    for path in (dat_path, description_path(dat_path)):
        if not path.is_file():
            raise MissingArtefactError(f"'{path}' does not exist.", remedy="Materialize binary_dat again.")
    try:
        description = DatDescription(**json.loads(description_path(dat_path).read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise DamagedArtefactError(
            f"'{description_path(dat_path)}' is no description that this version can read: {error}",
            remedy="Materialize binary_dat again.",
        ) from error
    if dat_path.stat().st_size != description.num_bytes:
        raise DamagedArtefactError(
            f"'{dat_path}' has {dat_path.stat().st_size} bytes; its description says {description.num_bytes}.",
            remedy="Materialize binary_dat again.",
        )
    return description


def read_dat(dat_path: Path) -> BaseRecording:
    """Open a `.dat` as a memory-mapped recording with its probe, gains and annotations.

    Returns
    -------
    BaseRecording
        Binary compatible: sorters read the file itself. `return_in_uV=True` gives microvolts.
    """
    import probeinterface
    from spikeinterface.core import BinaryRecordingExtractor

    description = read_description(dat_path)
    recording = BinaryRecordingExtractor(
        file_paths=[dat_path],
        sampling_frequency=description.sampling_frequency,
        num_channels=len(description.channel_ids),
        dtype=description.dtype,
        t_starts=[description.start_time_s],
        channel_ids=description.channel_ids,
        gain_to_uV=description.gain_to_uv,
        offset_to_uV=0.0,
        is_filtered=description.is_filtered,
    )
    if description.probegroup is not None:
        # Earlier versions of sort_assets wrote probes in space, too.
        probes, _ = planar_probes(probeinterface.ProbeGroup.from_dict(description.probegroup))
        recording.set_probegroup(probes, check_overlap=False)
    for name, values in description.properties.items():
        recording.set_property(name, np.asarray(values))
    if description.groups is not None:
        recording.set_property("group", np.asarray(description.groups))
    recording.annotate(**description.annotations)
    return recording


def _write_pass(
    recording: BaseRecording,
    dat_path: Path,
    dtype: np.dtype[Any],
    gain: float,
    n_jobs: int,
    chunk_duration_s: float,
    progress: Progress | None,
) -> _Seen:
    chunks = dat_chunks(recording, dtype, gain, chunk_duration_s)
    num_samples = recording.get_num_samples()
    hasher = hashlib.blake2b(digest_size=32)
    peak_uv = 0.0
    every = max(1, num_samples // _NOISE_SAMPLES)
    for_noise = []
    with dat_path.open("wb") as file:
        for chunk in _in_order(chunks.read, chunks.starts, n_jobs):
            data = chunk.samples.data.cast("B") if chunk.samples.size else b""
            file.write(data)
            hasher.update(data)
            peak_uv = max(peak_uv, chunk.peak_uv)
            for_noise.append(chunk.samples[(len(chunk.samples) - chunk.end) % every :: every].copy())
            if progress is not None:
                progress(min(1.0, chunk.end / num_samples))
        file.flush()
        os.fsync(file.fileno())
    return _Seen(peak_uv, _median_noise(np.concatenate(for_noise)) * gain if for_noise else 0.0, hasher.hexdigest())


def _median_noise(samples: np.ndarray) -> float:
    """Median over channels of the median absolute deviation, as the standard deviation of normal noise."""
    channels = np.ascontiguousarray(samples.T, dtype=np.float32)
    deviations = np.abs(channels - np.median(channels, axis=1, keepdims=True))
    return float(np.median(np.median(deviations, axis=1)) / MAD_OF_UNIT_NORMAL)


def _in_order(read: Callable[[int], DatChunk], starts: range, n_jobs: int) -> Iterator[DatChunk]:
    """Run `read` in `n_jobs` threads, at most one chunk ahead of each, and hand out the results in order."""
    if n_jobs == 1:
        yield from map(read, starts)
        return
    with ThreadPoolExecutor(max_workers=n_jobs) as pool:
        pending: list[Future[DatChunk]] = []
        try:
            for start in starts:
                pending.append(pool.submit(read, start))
                if len(pending) > n_jobs:
                    yield pending.pop(0).result()
            while pending:
                yield pending.pop(0).result()
        finally:
            for future in pending:
                future.cancel()


def _describe(recording: BaseRecording, dtype: str, gain: float, seen: _Seen) -> DatDescription:
    groups = recording.get_channel_groups()
    return DatDescription(
        dtype=dtype,
        gain_to_uv=float(gain),
        num_samples=int(recording.get_num_samples()),
        sampling_frequency=float(recording.sampling_frequency),
        start_time_s=float(recording.get_start_time()),
        channel_ids=recording.channel_ids.tolist(),
        groups=None if groups is None else groups.tolist(),
        probegroup=recording.get_probegroup().to_dict(array_as_list=True) if recording.has_probe() else None,
        properties=_simple_properties(recording),
        annotations={key: value for key in KEPT_ANNOTATIONS if (value := recording.get_annotation(key)) is not None},
        is_filtered=bool(recording.is_filtered()),
        peak_uv=seen.peak_uv,
        blake2b=seen.blake2b,
        median_noise_uv=seen.median_noise_uv,
    )


def _simple_properties(recording: BaseRecording) -> dict[str, list[Any]]:
    """The channels' properties that JSON preserves and for which the description has no field."""
    simple: dict[str, list[Any]] = {}
    for name in recording.get_property_keys():
        if name in _STATED_ELSEWHERE or name.startswith(_OF_OTHER_COUNTS):
            continue
        values = recording.get_property(name).tolist()
        kinds = {type(value) for value in values}
        finite = kinds != {float} or bool(np.isfinite(values).all())
        if len(kinds) == 1 and kinds <= {str, int, float, bool} and finite:
            simple[name] = values
    return simple
