"""Rules for the failures of Kilosort4 (Kilosort 4.1.7, as SpikeInterface 0.105.3 calls it).

Several causes share a message. What Kilosort noted in its log before tells them apart: the number of batches and of
channels, the range of the first batch, and how many spikes it found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from sort_assets.backends.any_sorter_failures import (
    CPU_ALLOCATOR,
    CPU_ALLOCATOR_EXAMPLE,
)
from sort_assets.backends.failure_rules import Evidence, FailureRule, diagnostics, failure_rule
from sort_assets.backends.gpu_failures import DEVICE_MEMORY, DEVICE_MEMORY_EXAMPLE, asked, device_memory_failure
from sort_assets.backends.kilosort4 import stages
from sort_assets.errors import (
    BadChannelsError,
    ConfigError,
    DeviceOutOfMemoryError,
    HostOutOfMemoryError,
    NonFiniteSamplesError,
    ProbeGeometryError,
    SilentRecordingError,
    SortAssetsError,
    SorterEnvironmentError,
    TooFewChannelsError,
    TooFewSpikesError,
    TooShortRecordingError,
)

SMALLEST_PEAK = 0.01
"""Largest sample below which a recording is out of scale: whitening adds 1e-6 to variances (preprocessing.py), so that
noise of 0.001 and less is damped."""

_LEARNS_FROM = 25
"""Kilosort learns waveforms from one batch in this many (`nskip=25` in spikedetect.py)."""

_NUM_BATCHES = re.compile(r"N batches: (\d+)")
_NUM_SECONDS = re.compile(r"N seconds: (\d+\.?\d*)")
_NUM_CHANNELS = re.compile(r"whiten_mat shape: torch\.Size\(\[(\d+),")
_SAMPLE = r"(?:np\.float32\()?(-?(?:\d+\.?\d*(?:e[+-]?\d+)?|nan|inf))\)?"
_FIRST_BATCH = re.compile(rf"First batch min, max: \({_SAMPLE}, {_SAMPLE}\)")
_SPIKES = re.compile(r"\b(\d+) spikes extracted in")

_IF_THE_REST_HAS_SPIKES = (
    "Look at the recording. If there are spikes where Kilosort did not look, let the recording begin where they do "
    "(recording.start_s). If they are weak, lower sorter.params.Th_single_ch. Or set "
    "sorter.params.templates_from_data to false and nt to 61: Kilosort then learns nothing, and detects with its "
    "built-in waveforms."
)
_LOWER_THRESHOLDS = (
    "If the recording does have spikes, lower sorter.params.Th_universal and sorter.params.Th_learned by one or two."
)
_SPREAD_CENTRES = (
    "Lowering batch_size does not help here: the memory goes to the spikes around one place. Keep "
    "sorter.params.cluster_downsampling at 20 and max_cluster_subset at 25000, put Th_universal and Th_learned back to "
    "9 and 8, and on a two-dimensional array set x_centers to one per 200 to 300 micrometres."
)
_FEWER_CLUSTERS = (
    "The memory grows with the square of the number of clusters: keep sorter.params.cluster_downsampling at 20, put "
    "Th_universal and Th_learned back to 9 and 8, and lower sorter.params.batch_size."
)
_SMALLER_BATCH = (
    "Lower sorter.params.batch_size, in proportion to which the memory goes; on dense arrays raise sorter.params.dminx "
    "(default 32), or sort shanks one by one (recording.split_by)."
)
_MEMORY_REMEDIES: Mapping[str | None, str] = {
    stages.FIRST_CLUSTERING: _SPREAD_CENTRES,
    stages.FINAL_CLUSTERING: _SPREAD_CENTRES,
    stages.MATCHING: _FEWER_CLUSTERS,
    stages.MERGING: _FEWER_CLUSTERS,
    stages.SAVING: "Sort a shorter part (recording.first_minutes), or raise sorter.params.Th_learned for fewer spikes.",
}
_FEWER_SPIKES = (
    "Lowering batch_size does not help here: the memory goes to the features of all spikes. Put "
    "sorter.params.Th_universal and Th_learned back to 9 and 8, sort a shorter part (recording.first_minutes) or "
    "shank by shank (recording.split_by), or give the sort more memory."
)


_ROOM_IN_A_BATCH = 100000
"""Rows of the table of one batch in `template_matching.run_matching`, up to Kilosort 4.1.7."""
_SMALLER_BATCH_FOR_SPIKES = (
    "Lower sorter.params.batch_size, in proportion to which the spikes of a batch go. If there can't be so many, "
    "put Th_universal and Th_learned back to 9 and 8."
)


def _device_memory(match: re.Match[str], evidence: Evidence) -> SortAssetsError:
    # Kilosort announces no stage of its own for the templates that come out of the first clustering.
    comparing = evidence.stage == stages.FIRST_CLUSTERING and "in postprocess_templates" in evidence.text
    stage = stages.MATCHING if comparing else evidence.stage
    where = "of the GPU's memory" if evidence.device == "cuda" else "of memory"
    return device_memory_failure(
        evidence,
        f"Kilosort4 ran out {where}{f' in {stage}' if stage else ''}{asked(match)}.",
        remedy=_MEMORY_REMEDIES.get(stage, _SMALLER_BATCH),
        stage=stage,
        **diagnostics(match),
    )


def _batch_is_full(_: re.Match[str], __: Evidence) -> SortAssetsError:
    return DeviceOutOfMemoryError(
        f"Kilosort4 has room for {_ROOM_IN_A_BATCH} spikes in a batch, and found more.",
        remedy=_SMALLER_BATCH_FOR_SPIKES,
        stage=stages.MATCHING,
    )


def _host_memory(match: re.Match[str], _: Evidence) -> SortAssetsError:
    shape = [int(length) for length in match["shape"].replace(",", " ").split()]
    # What Kilosort holds of spikes has three axes, or six columns (spikedetect.py).
    grid = len(shape) == 2 and min(shape) > 6
    return HostOutOfMemoryError(
        f"Kilosort4 ran out of the machine's memory: {match['bytes_asked']} for an array of shape ({match['shape']}) "
        "were asked for.",
        remedy="The grid of places where Kilosort looks for spikes is too fine: set sorter.params.dminx to 32, or to "
        "the median distance of neighbouring contacts."
        if grid
        else _FEWER_SPIKES,
        **diagnostics(match),
    )


def _no_waveforms(match: re.Match[str], evidence: Evidence) -> SortAssetsError:
    """Kilosort found no, or too few, spikes to learn waveforms from; silence and wrong units end here as well."""
    num_channels = _last_number(_NUM_CHANNELS, evidence.log)
    num_batches = _last_number(_NUM_BATCHES, evidence.log)
    where, looked_at = _where_it_looked(num_batches)
    peak = _peak_of_first_batch(evidence.log)
    if num_channels == 1 and peak == 0:
        return TooFewChannelsError(
            "The recording has one channel, of which Kilosort4's common reference leaves nothing.",
            remedy="Set sorter.params.do_CAR to false, or choose a sorter for single channels.",
            num_channels=1,
        )
    if peak == 0:
        return SilentRecordingError(
            f"No sample of the first of {num_batches or 'the'} batches differs from zero after the high-pass filter "
            f"and the common reference, and Kilosort4 found too few spikes in {where}.",
            remedy="Check that the amplifier was connected and that the channels do not all carry the same signal. If "
            "only the beginning is silent, leave it out (recording.start_s).",
            num_channels=num_channels,
            num_batches=num_batches,
            batches_looked_at=looked_at,
        )
    if peak is not None and peak < SMALLEST_PEAK:
        return NonFiniteSamplesError(
            f"The samples are too small for Kilosort4: the largest of the first batch is {peak:g}.",
            remedy="The recording is probably in volts: set recording.gain_to_uv, or sorter.params.scale to 1000000.",
            peak=peak,
        )
    found: dict[str, Any] = {"spikes_found": 0} | diagnostics(match)
    needs = f" It needs {found['needed']}." if "needed" in found else ""
    return TooFewSpikesError(
        f"Kilosort4 found {found['spikes_found']} clear spikes in {where}.{needs} It learns waveforms there and "
        "nowhere else.",
        remedy=_IF_THE_REST_HAS_SPIKES,
        num_batches=num_batches,
        batches_looked_at=looked_at,
        **found,
    )


def _where_it_looked(num_batches: int | None) -> tuple[str, int | None]:
    """Which part of the recording Kilosort learns waveforms from, as text and in batches."""
    if num_batches is None:
        return f"every {_LEARNS_FROM}th batch", None
    looked_at = math.ceil(num_batches / _LEARNS_FROM)
    if looked_at == 1:
        return f"the first of {num_batches} batches", looked_at
    return f"{looked_at} of {num_batches} batches (every {_LEARNS_FROM}th)", looked_at


def _no_channels_near(match: re.Match[str], evidence: Evidence) -> SortAssetsError:
    found = _last_number(_SPIKES, evidence.log)
    # Kilosort 4.1.7 says this only when it found no spike at all with the templates that it had learned.
    if found == 0 or (found is None and evidence.stage == stages.FINAL_CLUSTERING):
        return TooFewSpikesError(
            "Kilosort4 found no spikes with the templates that it had learned.",
            remedy=_LOWER_THRESHOLDS,
            spikes_found=0,
        )
    return ProbeGeometryError(
        "Kilosort4 found no channels near the places at which it looks for units.",
        remedy="Check the channels' locations, which are in micrometres; set sorter.params.dmin and dminx to the "
        "distances of neighbouring contacts, and sort shanks one by one (recording.split_by).",
        spikes_found=found,
        **diagnostics(match),
    )


def _whitening_failed(_: re.Match[str], evidence: Evidence) -> SortAssetsError:
    num_batches = _last_number(_NUM_BATCHES, evidence.log)
    if num_batches is not None and num_batches <= 1:
        seconds = _NUM_SECONDS.search(evidence.log)
        length = f" of {float(seconds[1]):g} s" if seconds else ""
        return TooShortRecordingError(
            f"The recording{length} is not longer than one batch, and Kilosort4 needs at least two.",
            remedy="Record for longer: minutes are needed for a good sort. To see what is in this one, lower "
            "sorter.params.batch_size until two batches fit in.",
            num_batches=num_batches,
            duration_s=float(seconds[1]) if seconds else None,
        )
    return NonFiniteSamplesError(
        "Kilosort4 could not whiten the recording: it holds samples that are not numbers (NaN or infinite), or far "
        "out of scale.",
        remedy="Find out which part or channel is broken and leave it out (recording.start_s, recording.end_s, "
        "recording.bad_channel_ids), or sort it as int16 (recording.dat_dtype).",
        num_batches=num_batches,
    )


def _last_number(pattern: re.Pattern[str], log: str) -> int | None:
    found = pattern.findall(log)
    return int(found[-1]) if found else None


def _peak_of_first_batch(log: str) -> float | None:
    """The largest absolute sample of the first batch, filtered and referenced but not whitened."""
    found = _FIRST_BATCH.findall(log)
    return max(abs(float(value)) for value in found[-1]) if found else None


FAILURE_RULES: tuple[FailureRule, ...] = (
    FailureRule(re.compile(DEVICE_MEMORY), _device_memory, example=DEVICE_MEMORY_EXAMPLE),
    FailureRule(re.compile(CPU_ALLOCATOR), _device_memory, example=CPU_ALLOCATOR_EXAMPLE),
    FailureRule(
        re.compile(r"in run_matching\b[\s\S]{0,2000}?The expanded size of the tensor \(\d+\) must match"),
        _batch_is_full,
        example="in run_matching: The expanded size of the tensor (12) must match the existing size (40)",
    ),
    FailureRule(
        re.compile(r"Unable to allocate (?P<bytes_asked>[\d.]+ \w+) for an array with shape \((?P<shape>[\d, ]*)\)"),
        _host_memory,
        example="Unable to allocate 12.5 GiB for an array with shape (33554432, 6, 8)",
    ),
    FailureRule(
        re.compile(
            r"Found array with 0 sample\(s\) \(shape=\(0, \d+\)\) while a minimum of 1 is required by TruncatedSVD"
        ),
        _no_waveforms,
        example="Found array with 0 sample(s) (shape=(0, 61)) while a minimum of 1 is required by TruncatedSVD",
    ),
    FailureRule(
        re.compile(r"n_samples=(?P<spikes_found>\d+) should be >= n_clusters=(?P<needed>\d+)"),
        _no_waveforms,
        example="n_samples=4 should be >= n_clusters=6",
    ),
    failure_rule(
        r"No spikes detected, cannot continue sorting",
        TooFewSpikesError,
        "Kilosort4 found no spikes.",
        _LOWER_THRESHOLDS,
    ),
    FailureRule(
        re.compile(
            r"`get_data_cpu` never found suitable channels"
            r"(?:[^\n]*\n\s*dmin, dminx, and xcenter are: \((?:np\.float\d+\()?(?P<dmin>[\d.]+)\)?, "
            r"(?:np\.float\d+\()?(?P<dminx>[\d.]+))?"
        ),
        _no_channels_near,
        example="`get_data_cpu` never found suitable channels",
    ),
    failure_rule(
        r"Wall is empty after `clustering_qr\.run`",
        TooFewSpikesError,
        "Kilosort4 found no clusters of spikes.",
        _LOWER_THRESHOLDS,
    ),
    FailureRule(
        re.compile(
            r"linalg\.svd: The algorithm failed to converge because the input matrix"
            r"|linalg\.svd: [^\n]*(?:ill-conditioned|too many repeated singular values)"
            r"|incorrect on entry to SLASCL"
        ),
        _whitening_failed,
        example="linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values.",
    ),
    failure_rule(
        r"probability tensor contains either `?inf`?, `?nan`? or element < 0",
        NonFiniteSamplesError,
        "Features of spikes are not numbers: the recording holds samples that are NaN, infinite or far out of scale.",
        "Find out which part or channel is broken and leave it out (recording.start_s, recording.end_s, "
        "recording.bad_channel_ids), or sort it as int16 (recording.dat_dtype).",
    ),
    failure_rule(
        r"IndexError: Channel '(?P<channel>[^']+)' was not in probe\['chanMap'\]",
        BadChannelsError,
        "sorter.params.bad_channels names channel {channel}, which the recording does not have.",
        "Name channels to drop in recording.bad_channel_ids, by their ids, and leave sorter.params.bad_channels empty.",
    ),
    failure_rule(
        r"zero-size array to reduction operation|median\(\): Expected reduction dim 0 to have non-zero size",
        BadChannelsError,
        "No channel is left to sort.",
        "Name fewer channels in recording.bad_channel_ids or sorter.params.bad_channels.",
    ),
    failure_rule(
        r"(?P<reason>Largest value of chanMap exceeds channel count|All probe variables must have the same length"
        r"|Missing required key: \S+ after loading probe|Array-valued probe entries should have 1 dim"
        r"|Selected empty shank index: [^,]+|Unrecognized extension for probe[^\n]*)",
        ProbeGeometryError,
        "The channels' locations do not fit the recording: {reason}.",
        "Set recording.probe_file to a probeinterface JSON file of the probe, or correct it in the recording's file; "
        "leave sorter.params without a probe.",
    ),
    failure_rule(
        r"(?P<reason>`nt` must be odd, but got nt=\d+)",
        ConfigError,
        "Kilosort4 refuses sorter.params.nt: {reason}.",
        "Set sorter.params.nt to an odd number, about two milliseconds of samples: 61 at 30 kHz, 41 at 20 kHz.",
    ),
    failure_rule(
        r"If using pre-computed universal templates",
        ConfigError,
        "Kilosort4 has built-in waveforms of 61 samples only, and sorter.params.nt differs.",
        "Set sorter.params.nt to 61, or sorter.params.templates_from_data to true.",
    ),
    failure_rule(
        r"Unrecognized settings: \[(?P<parameters>[^\]]*)\]",
        ConfigError,
        "sorter.params has settings that Kilosort4 does not know: {parameters}.",
        "Correct their names in sorter.params.",
    ),
    failure_rule(
        r"`n_chan_bin` is a required setting",
        ConfigError,
        "Kilosort4 was not told the number of channels.",
        "Leave n_chan_bin out of sorter.params: it is taken from the recording.",
    ),
    failure_rule(
        r"in template_centers[\s\S]{0,2000}?TypeError: unsupported operand type\(s\) for [^\n]*'NoneType'",
        ConfigError,
        "Kilosort4 needs a number for sorter.params.dminx.",
        "Leave sorter.params.dminx out (default 32), or set it to the median distance of neighbouring contacts.",
    ),
    failure_rule(
        r"'NoneType' object has no attribute 'setLevel'",
        SorterEnvironmentError,
        "Something else in the process listens to Kilosort's log, and SpikeInterface then fails to set it up.",
        "Take 'kilosort' out of Dagster's managed_python_loggers, and attach no handler to that logger.",
    ),
)
"""The rules; all are tried. Of those that match, `failure_classification.classify` chooses by its kind, and among
those of one kind the first."""
