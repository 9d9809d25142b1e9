"""Writes two recordings as of a Neuropixels probe (of 16 channels without a GPU), and the rule that reads them."""

import os
from pathlib import Path

import numpy as np
import torch
from probeinterface import Probe, ProbeGroup, write_probeinterface

RATE_HZ, GAIN_UV, NOISE_UV = 30_000, 0.195, 8.0
BEFORE, SAMPLES = 20, 61
MEAN_SPIKES_PER_S = 10
CONFIG = """arrival: {{quiet_s: 1}}
rules:
  - match: "np/*.dat"
    recording:
      binary: {{sampling_hz: {rate}, channels: {channels}, dtype: int16}}
      gain_to_uv: {gain}
      probe_file: np.json
"""


def contacts(channels: int) -> np.ndarray:
    """Locations in micrometres, shape (channels, 2): four staggered columns, as on Neuropixels 1.0."""
    return np.array([[[43, 11, 59, 27][number % 4], 20 * (number // 2)] for number in range(channels)], float)


def templates(rng: np.random.Generator, locations: np.ndarray, units: int) -> np.ndarray:
    """Waveforms in steps of the gain, shape (units, samples, channels)."""
    times = np.arange(SAMPLES) - BEFORE
    places = np.stack([rng.uniform(5, 65, units), rng.uniform(0, locations[:, 1].max(), units)], 1)
    trough = np.exp(-(times**2) / (2 * rng.uniform(3, 6, units)[:, None] ** 2))
    after = np.exp(-((times - 12) ** 2) / (2 * rng.uniform(6, 10, units)[:, None] ** 2))
    near = np.exp(-((places[:, None] - locations[None]) ** 2).sum(-1) / (2 * 25.0**2))
    size = rng.uniform(60, 200, units) / GAIN_UV
    return np.asarray(size[:, None, None] * (0.35 * after - trough)[:, :, None] * near[:, None, :], np.float32)


def write(path: Path, locations: np.ndarray, units: int, seconds: int, device: str, rng: np.random.Generator) -> None:
    """Write a recording second by second, under another name until it is whole."""
    waveforms = torch.from_numpy(templates(rng, locations, units)).to(device)
    samples = torch.arange(SAMPLES, device=device)
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("wb") as file:
        for _ in range(seconds):
            traces = torch.randn(RATE_HZ, len(locations), device=device) * (NOISE_UV / GAIN_UV)
            for waveform in waveforms:
                possible = np.arange(BEFORE, RATE_HZ - SAMPLES, 90)
                starts = np.sort(rng.choice(possible, rng.poisson(MEAN_SPIKES_PER_S), replace=False))
                where = torch.as_tensor(starts, device=device)[:, None] + samples
                traces[where.reshape(-1)] += waveform.repeat(len(starts), 1)
            file.write(traces.clamp(-32000, 32000).to(torch.int16).cpu().numpy().tobytes())
    unfinished.rename(path)


def main() -> None:
    """Write them into the folder of recordings."""
    channels, seconds, units = (16, 12, 6) if os.environ["DRY"] == "1" else (384, 60, 200)
    root, locations, rng = Path(os.environ["SORT_ASSETS_RECORDINGS"]), contacts(channels), np.random.default_rng(1)
    (root / "np").mkdir(exist_ok=True)
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=locations, shapes="square", shape_params={"width": 12})
    probe.set_device_channel_indices(np.arange(channels))
    group = ProbeGroup()
    group.add_probe(probe)
    write_probeinterface(root / "np.json", group)
    config = CONFIG.format(rate=RATE_HZ, channels=channels, gain=GAIN_UV)
    (root / "sort_assets.yaml").write_text(config)
    for name in ("a", "b"):
        write(root / "np" / f"{name}.dat", locations, units, seconds, os.environ["DEV"], rng)


if __name__ == "__main__":
    main()
