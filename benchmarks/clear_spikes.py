"""How well clear spikes are told from noise: what `look_for_clear_spikes` says of recordings with and without units.

    python -m benchmarks.clear_spikes
    python -m benchmarks.clear_spikes --shapes tetrode "16 contacts" --seeds 0 1 2 --seconds 60

Every recording is filtered as the product does it. Recordings of noise must never be certain; recordings with one unit
of some spikes per second and more, eight times the noise and higher, must be. Prints a line for each, and the wrong
answers at the end.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from spikeinterface.core import BaseRecording, NumpyRecording

from benchmarks.rows import Row, Size, at_most
from sort_assets.config import RecordingConfig
from sort_assets.recordings import prepare
from sort_assets.recordings.clear_spikes import look_for_clear_spikes
from sort_assets.testing.ground_truth import GAIN_TO_UV, make_ground_truth
from sort_assets.testing.shapes import SHAPES, Shape

RATE_HZ = 30000.0
NOISE_UV = 8.0
Added = Callable[[np.random.Generator, int, int], np.ndarray]
"""What is added to the noise, in microvolts: from a generator, samples and channels, to shape (samples, channels)."""


def nothing(_: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Normal noise alone."""
    return np.zeros((samples, channels), np.float32)


def coloured(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Noise with more power at low frequencies (1/f), five times the size of the other."""
    spectrum = np.fft.rfft(rng.standard_normal((samples, channels)), axis=0)
    frequencies = np.maximum(np.fft.rfftfreq(samples, 1 / RATE_HZ), 1.0)
    noise = np.fft.irfft(spectrum / np.sqrt(frequencies)[:, None], samples, axis=0)
    return np.asarray(5 * NOISE_UV * noise / noise.std(), np.float32)


def hum(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """The mains at 50 Hz with many harmonics, on each channel at another size."""
    times = np.arange(samples) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * 50 * k * times + k) / k for k in (1, 2, 3, 5, 7, 9, 11, 13, 21))
    return np.asarray(150 * wave[:, None] * rng.uniform(0.7, 1.3, channels), np.float32)


def _pulses(
    rng: np.random.Generator, samples: int, channels: int, times: np.ndarray, shape: np.ndarray, spread: float
) -> np.ndarray:
    added = np.zeros((samples, channels), np.float32)
    gains = rng.uniform(1 - spread, 1 + spread, channels)
    for sample in times:
        end = min(samples, int(sample) + len(shape))
        added[int(sample) : end] += rng.uniform(0.7, 1.3) * shape[: end - int(sample), None] * gains
    return added


def touches(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Short pulses on all channels at once, three per second."""
    times = rng.integers(0, samples, round(3 * samples / RATE_HZ))
    return _pulses(rng, samples, channels, times, -400 * np.hanning(15), 0.1)


def stimulation(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Biphasic pulses of 0.4 ms at 10 Hz with a slow decay, on all channels."""
    shape = np.concatenate([np.full(6, 3000.0), np.full(6, -3000.0), 800 * np.exp(-np.arange(150) / 40)])
    return _pulses(rng, samples, channels, np.arange(100, samples, RATE_HZ / 10), shape, 0.1)


def chewing(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Bursts of muscle noise, alike on all channels, 100 ms long and six times the noise, three per second."""
    common = rng.standard_normal((samples, 1)) * 0.9 + rng.standard_normal((samples, channels)) * 0.4
    envelope = np.zeros(samples)
    for start in rng.integers(0, samples, round(3 * samples / RATE_HZ)):
        length = min(3000, samples - int(start))
        envelope[int(start) : int(start) + length] = np.hanning(3000)[:length]
    return np.asarray(6 * NOISE_UV * envelope[:, None] * common, np.float32)


def steps(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Jumps of the baseline, on all channels, two per second."""
    added = np.zeros((samples, channels), np.float32)
    for sample in rng.integers(0, samples, round(2 * samples / RATE_HZ)):
        added[int(sample) :] += rng.choice([-1, 1]) * 500 * rng.uniform(0.8, 1.2, channels)
    return added


def two_bad_seconds(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Pops on single channels, forty per second, but for two seconds only."""
    added = np.zeros((samples, channels), np.float32)
    for sample in rng.integers(samples // 2, samples // 2 + round(2 * RATE_HZ), 80):
        added[int(sample) : int(sample) + 12, rng.integers(channels)] -= 300 * np.hanning(12)
    return added


Case = tuple[str, tuple[int, float, tuple[float, float]], Added, bool]
"""What it is called, the units in it as in `UNITS`, what is added, and whether there are clear spikes."""
USUAL_SHAPES = ("wire", "tetrode", "shank of 8", "16 contacts")
NOISES: Mapping[str, Added] = {
    one.__name__: one for one in (nothing, coloured, hum, touches, stimulation, chewing, steps, two_bad_seconds)
}
UNITS: Mapping[str, tuple[int, float, tuple[float, float]]] = {
    # units, spikes per second, heights in microvolts
    "one unit of 2 Hz, 12 x noise": (1, 2.0, (95.0, 97.0)),
    "one unit of 5 Hz, 10 x noise": (1, 5.0, (79.0, 81.0)),
    "two units of 4 Hz": (2, 4.0, (120.0, 200.0)),
    "three units of 20 Hz": (3, 20.0, (120.0, 260.0)),
}


def make(
    shape: Shape, seconds: float, seed: int, units: int, rate_hz: float, heights: tuple[float, float], added: Added
) -> BaseRecording:
    """A recording of the shape, filtered."""
    rng = np.random.default_rng(seed + 100)
    raw, _ = make_ground_truth(
        seconds,
        num_units=units,
        seed=seed,
        probe=shape.probe(),
        spatial_decay_um=shape.spatial_decay_um,
        firing_rates_hz=(rate_hz, rate_hz * 1.01),
        amplitudes_uv=heights,
        noise_uv=NOISE_UV,
    )
    counts = raw.get_traces() + added(rng, raw.get_num_samples(), raw.get_num_channels()) / GAIN_TO_UV
    noisy = NumpyRecording([counts.clip(-32768, 32767).astype(np.int16)], RATE_HZ, channel_ids=raw.channel_ids)
    noisy.set_probe(shape.probe())
    noisy.set_channel_gains(GAIN_TO_UV)
    noisy.set_channel_offsets(0.0)
    return prepare(noisy, RecordingConfig(bad_channels="none"))


def cases() -> Iterator[Case]:
    """What is added to noise, or which units are in it, and whether the answer must be certain."""
    yield from ((f"noise, {kind}", (0, 1.0, (1.0, 2.0)), added, False) for kind, added in NOISES.items())
    yield from ((text, unit, nothing, True) for text, unit in UNITS.items())
    yield "three units, hum", UNITS["three units of 20 Hz"], hum, True


def ask(
    shapes: Iterable[str], seeds: Iterable[int], seconds: float, chosen: Sequence[Case]
) -> Iterator[tuple[bool, str]]:
    """Whether each answer is right, and a line that says what it was."""
    for name, seed, (text, unit, added, expected) in itertools.product(shapes, seeds, chosen):
        seen = look_for_clear_spikes(make(SHAPES[name], seconds, seed, *unit, added))
        says = "spikes" if seen.certain else "some" if seen.suspected else "none"
        of = f"in {seen.stretches_with_spikes} of {seen.stretches} stretches"
        yield seen.certain == expected, f"{name:14} seed {seed} {text:32} {says:7} {seen}, {of}"


def rows(size: Size) -> Iterator[Row]:
    """How many answers are wrong; not in the usual run, since no speed depends on it."""
    if size == "usual":
        return
    chosen = [one for one in cases() if size != "small" or one[0] in ("noise, nothing", "three units of 20 Hz")]
    shapes, seconds = (USUAL_SHAPES, 30.0) if size == "full" else (["tetrode"], 10.0)
    answers = list(ask(shapes, [0], seconds, chosen))
    wrong = [" ".join(line.split()) for right, line in answers if not right]
    note = "; ".join([f"{len(answers)} recordings of {seconds:g} s: {', '.join(shapes)}", *wrong])
    yield Row("wrong answers to whether there are clear spikes", len(wrong), "answers", at_most(0), note)


def main() -> None:
    """Ask about all recordings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=USUAL_SHAPES)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    wrong = []
    for right, line in ask(arguments.shapes, arguments.seeds, arguments.seconds, list(cases())):
        print(line, flush=True)
        if not right:
            wrong.append(line)
    print(f"wrong: {len(wrong)}", *wrong, sep="\n")


if __name__ == "__main__":
    main()
