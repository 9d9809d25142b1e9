"""The steps of preprocessing: SpikeInterface's functions by their names, and motion correction."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.config.model import FILTER_STEPS, RecordingConfig
from sort_assets.errors import ConfigError, DamagedArtefactError
from sort_assets.machine.threads import affordable_threads

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

BAND_PASS = "bandpass_filter"
BAND_PASS_FILE = "band_pass.json"
"""File in the folder of `freeze` that says by being there that the band-pass is computed in float32. Earlier versions
did not write it; what they froze is still filtered by SpikeInterface, so that its `.dat` stays the same when it is
written again. What it holds is for a version that computes otherwise."""
PHASE_SHIFT = "phase_shift"
CORRECT_MOTION = "correct_motion"
INTERPOLATE_MOTION = "interpolate_motion"
COMMON_REFERENCE = "common_reference"
FEWEST_FOR_REFERENCE = 16
"""Number of channels from which on a spike is on so few of them that their median does not hold it."""
MOTION_FOLDER = "motion"
DEFAULT_MOTION_PRESET = "dredge_fast"
"""SpikeInterface's default preset."""

Steps = dict[str, dict[str, Any]]

_SEED = 0
_HANDS_SEED_ON = ("random_chunk_kwargs", "detect_bad_channels_kwargs")
_DEFAULT_CHUNK_S = 1.0  # of SpikeInterface
_SAMPLE_SHIFTS = "inter_sample_shift"
_LOWPASS = "lowpass"
_LOWPASS_ORDER = 5
_LOWPASS_MARGIN_MS = 5.0


def planned_steps(config: RecordingConfig) -> Steps:
    """The steps in order, with the band-pass where `RecordingConfig.preprocessing` says that it stands.

    Parameters
    ----------
    config : RecordingConfig
        Its `preprocessing`, `freq_min` and `freq_max` are read.

    Returns
    -------
    dict
        From a step's name to its parameters.
    """
    band = {"freq_min": config.freq_min, "freq_max": config.freq_max}
    steps = {name: dict(params) for name, params in config.preprocessing.items()}
    if BAND_PASS in steps:
        steps[BAND_PASS] = band | steps[BAND_PASS]
    if any(name in FILTER_STEPS for name in steps):
        return steps
    if config.freq_min is not None and config.freq_max is not None:
        return {BAND_PASS: band} | steps
    if config.freq_min is not None:
        return {"highpass_filter": {"freq_min": config.freq_min}} | steps
    if config.freq_max is not None:
        return {_LOWPASS: {"freq_max": config.freq_max}} | steps
    return steps


def reference_of_few(recording: BaseRecording, config: RecordingConfig) -> bool:
    """Whether the steps take a common reference of so few channels that spikes go with it.

    Parameters
    ----------
    recording : BaseRecording
        With all channels of which the reference is taken.
    config : RecordingConfig
        Its `preprocessing` is read.
    """
    params = config.preprocessing.get(COMMON_REFERENCE)
    # One channel, or those around each, as a reference are somebody's careful choice.
    if params is None or params.get("reference", "global") != "global":
        return False
    groups = params.get("groups")
    channels = min(map(len, groups)) if groups else recording.get_num_channels()
    return bool(channels < FEWEST_FOR_REFERENCE)


def apply_steps(
    recording: BaseRecording, steps: Steps, *, frozen_folder: Path | None, n_jobs: int = 1
) -> BaseRecording:
    """Apply steps one after the other; the usual band-pass and `phase_shift` beside it in one pass.

    Both are linear and the same at all times, so that their order does not matter.

    Parameters
    ----------
    recording, frozen_folder, n_jobs
        As for `apply_step`.
    steps : dict
        From `planned_steps`.

    Raises
    ------
    ConfigError
        As `apply_step` does.
    """
    remaining = dict(steps)
    while remaining:
        name = next(iter(remaining))
        params = remaining.pop(name)
        following = next(iter(remaining), "")
        if {name, following} == {BAND_PASS, PHASE_SHIFT}:
            both = {name: params, following: remaining[following]}
            if _in_one_pass(recording, both, frozen_folder):
                del remaining[following]
                recording = _band_pass(recording, **both[BAND_PASS], shifted=True)
                continue
        recording = apply_step(recording, name, params, frozen_folder=frozen_folder, n_jobs=n_jobs)
    return recording


def apply_step(
    recording: BaseRecording, name: str, params: dict[str, Any], *, frozen_folder: Path | None, n_jobs: int = 1
) -> BaseRecording:
    """Apply one step, lazily where the step allows it.

    Steps that estimate something from random parts of the recording get a fixed seed unless `params` has one, so that
    the same configuration always makes the same recording.

    Parameters
    ----------
    recording : BaseRecording
        In microvolts.
    name : str
        A name from `planned_steps`: a preprocessing function of SpikeInterface, "correct_motion" or
        "interpolate_motion".
    params : dict
        Its parameters.
    frozen_folder : Path or None
        Where `freeze` put the motion that "interpolate_motion" reads, and how the band-pass is computed.
    n_jobs : int
        Threads with which "correct_motion" estimates; they do not change the result.

    Raises
    ------
    ConfigError
        When the step does not exist or can't be built with these parameters.
    """
    functions: dict[str, Callable[..., BaseRecording]] = {
        **_spikeinterface_steps(),
        **({BAND_PASS: _band_pass} if _in_float32(recording, name, params, frozen_folder) else {}),
        _LOWPASS: _lowpass,
        CORRECT_MOTION: partial(_correct_motion, n_jobs=n_jobs),
        INTERPOLATE_MOTION: partial(_interpolate_motion, frozen_folder=frozen_folder),
    }
    if name not in functions:
        raise ConfigError(
            f"recording.preprocessing names a step '{name}' that does not exist.",
            remedy=f"Use one of: {', '.join(sorted(functions.keys() - {_LOWPASS}))}.",
        )
    _check_band(recording, name, params)
    try:
        with _one_blas_thread() if name != CORRECT_MOTION else nullcontext():
            return functions[name](recording, **_with_seed(functions[name], params))
    except ConfigError:
        raise
    except (TypeError, ValueError, AssertionError, LookupError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"The preprocessing step '{name}' can't be applied with {params}: {error}",
            remedy=f"Correct recording.preprocessing.{name} or leave it out; SpikeInterface documents the step.",
        ) from error


def freeze_band_pass(folder: Path) -> None:
    """Store how the band-pass is computed.

    Parameters
    ----------
    folder : Path
        That of `freeze`.
    """
    from sort_assets.recordings.band_pass_design import BLOCK_SAMPLES

    stored = {"arithmetic": "float32", "block_samples": BLOCK_SAMPLES}
    (folder / BAND_PASS_FILE).write_text(json.dumps(stored), encoding="utf-8")


def freeze_motion(
    recording: BaseRecording, params: dict[str, Any], folder: Path, n_jobs: int = 1
) -> tuple[BaseRecording, dict[str, Any]]:
    """Correct motion, and store the estimate so that it need not be made again.

    Parameters
    ----------
    recording : BaseRecording
        What comes into the step.
    params : dict
        Those of "correct_motion".
    folder : Path
        Where the folder "motion" is made.
    n_jobs : int
        As for `apply_step`.

    Returns
    -------
    recording : BaseRecording
        Corrected.
    params : dict
        Those of the step "interpolate_motion" that does the same from the stored estimate. Its "folder" is relative
        to `folder`, which may therefore be moved.
    """
    from spikeinterface.preprocessing import get_motion_parameters_preset

    corrected = apply_step(recording, CORRECT_MOTION, params, frozen_folder=None, n_jobs=n_jobs)
    corrected._kwargs["motion"].save(folder / MOTION_FOLDER)
    preset = get_motion_parameters_preset(params.get("preset", DEFAULT_MOTION_PRESET))
    interpolation = preset["interpolate_motion_kwargs"] | params.get("interpolate_motion_kwargs", {})
    return corrected, {"folder": MOTION_FOLDER, **interpolation}


def _one_blas_thread() -> AbstractContextManager[object]:
    """Let BLAS use one thread: with several, the sums of a whitening matrix differ in their last bits at each call."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def _spikeinterface_steps() -> dict[str, Callable[..., BaseRecording]]:
    from spikeinterface.preprocessing import preprocessor_dict

    return {function.__name__: function for function in preprocessor_dict.values()}


def _with_seed(step: Callable[..., BaseRecording], params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with a seed, where the step takes one: by name, or among the arguments it hands on."""
    accepted = inspect.signature(step).parameters
    if "seed" in accepted or any(name in accepted for name in _HANDS_SEED_ON):
        return {"seed": _SEED} | params
    if "random_slice_kwargs" in accepted:
        return params | {"random_slice_kwargs": {"seed": _SEED} | params.get("random_slice_kwargs", {})}
    return params


def _check_band(recording: BaseRecording, name: str, params: dict[str, Any]) -> None:
    nyquist_hz = recording.sampling_frequency / 2
    freq_max = params.get("freq_max")
    if name in (*FILTER_STEPS, _LOWPASS) and freq_max is not None and freq_max >= nyquist_hz:
        raise ConfigError(
            f"The filter's upper edge, {freq_max:g} Hz, is not below half the sampling rate, {nyquist_hz:g} Hz.",
            remedy=f"Set recording.freq_max below {nyquist_hz:g}, or to null to leave the high frequencies in.",
        )


def _in_float32(recording: BaseRecording, name: str, params: dict[str, Any], frozen_folder: Path | None) -> bool:
    """Whether a step is the usual band-pass, which need not be computed in float64."""
    from sort_assets.recordings.band_pass_design import is_supported

    if name != BAND_PASS or params.keys() != {"freq_min", "freq_max"} or None in params.values():
        return False
    is_frozen_without = frozen_folder is not None and not (frozen_folder / BAND_PASS_FILE).is_file()
    return not is_frozen_without and is_supported(float(recording.sampling_frequency), **params)


def _in_one_pass(recording: BaseRecording, steps: Steps, frozen_folder: Path | None) -> bool:
    from sort_assets.recordings.band_pass_design import can_shift

    shifts = recording.get_property(_SAMPLE_SHIFTS)
    return (
        not steps[PHASE_SHIFT]
        and shifts is not None
        and _in_float32(recording, BAND_PASS, steps[BAND_PASS], frozen_folder)
        and can_shift(shifts, float(recording.sampling_frequency), steps[BAND_PASS]["freq_max"])
    )


def _band_pass(recording: BaseRecording, freq_min: float, freq_max: float, shifted: bool = False) -> BaseRecording:
    from sort_assets.recordings.band_pass import BandPassRecording

    shifts = recording.get_property(_SAMPLE_SHIFTS).tolist() if shifted else None
    return BandPassRecording(recording, freq_min=freq_min, freq_max=freq_max, sample_shifts=shifts)


def _lowpass(recording: BaseRecording, freq_max: float) -> BaseRecording:
    """A Butterworth low-pass, which SpikeInterface has no step for, of the same order as its band-pass."""
    from scipy.signal import iirfilter
    from spikeinterface.preprocessing import filter as filter_recording

    coefficients = iirfilter(
        _LOWPASS_ORDER, freq_max, fs=recording.sampling_frequency, btype="lowpass", ftype="butter", output="sos"
    )
    return filter_recording(recording, coeff=coefficients, margin_ms=_LOWPASS_MARGIN_MS)


def _correct_motion(
    recording: BaseRecording, preset: str = DEFAULT_MOTION_PRESET, n_jobs: int = 1, **params: Any
) -> BaseRecording:
    from spikeinterface.core import get_noise_levels
    from spikeinterface.preprocessing import correct_motion

    if not recording.has_probe():
        raise ValueError("motion can only be corrected where channels have locations")
    view = recording.select_channels(recording.channel_ids)
    # Stores the noise levels as a property; without it, correct_motion estimates them at random times.
    get_noise_levels(view, return_in_uV=False, random_slices_kwargs={"seed": _SEED}, n_jobs=1, progress_bar=False)
    jobs = {
        "n_jobs": affordable_threads(n_jobs, view, _DEFAULT_CHUNK_S),
        "pool_engine": "thread",
        "progress_bar": False,
    }
    return correct_motion(view, preset=preset, **jobs | params)


def _interpolate_motion(
    recording: BaseRecording, *, folder: str, frozen_folder: Path | None, **params: Any
) -> BaseRecording:
    from spikeinterface.core.motion import Motion
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    if frozen_folder is None or not (motion_folder := frozen_folder / folder).resolve().is_relative_to(
        frozen_folder.resolve()
    ):
        raise ConfigError(
            f"The step '{INTERPOLATE_MOTION}' reads motion from '{folder}', which is not in the folder of `freeze`.",
            remedy=f"Use the step {CORRECT_MOTION}; it is replaced when the recording is prepared for good.",
        )
    try:
        motion = Motion.load(motion_folder)
    except (OSError, ValueError, KeyError) as error:
        raise DamagedArtefactError(
            f"The motion estimate in '{motion_folder}' can't be read: {error}",
            remedy="Materialize preprocessed_recording again.",
        ) from error
    return interpolate_motion(recording, motion, **params)
