"""Recordings that arrive: plain binary files of some seconds, cut from one synthetic recording."""

import threading
from pathlib import Path

import numpy as np
from probeinterface import write_probeinterface

from sort_assets.testing.ground_truth import GAIN_TO_UV, make_ground_truth
from sort_assets_tests.soak.plan import Arrival
from sort_assets_tests.soak.soak_sorter import NAME

CHANNELS = 8
RATE_HZ = 30_000
SECONDS = 4.0
_SHIFT_S = 0.05
"""From the beginning of one recording to that of the next in the synthetic one."""
_PIECES = 6
"""In which a slow one is written, a second apart: less than what counts as quiet."""
_REMOVED_AFTER_S = (4.0, 40.0)
_BROKEN = b"\x89HDF\r\n\x1a\n" + bytes(5000)
_RULES = f"""
arrival: {{quiet_s: 3}}
rules:
- match: "*"
  sorter: {{name: {NAME}, params: {{seconds: SORT_S}}}}
  execution: {{n_jobs: 1, min_free_disk_gb: 0.02, terminate_grace_s: 3}}
  recording:
    binary: {{sampling_hz: {RATE_HZ}, channels: {CHANNELS}, dtype: int16}}
    gain_to_uv: {GAIN_TO_UV}
    probe_file: probe.json
    bad_channels: none
  waveform: {{max_spikes_per_unit: 50}}
  metrics: {{skip: [synchrony, sliding_rp_violation, velocity_fits]}}
  curation: {{merge_preset: null}}
  resources: {{run: {{cpus: 1, memory_gb: 3}}}}
  delivery: {{formats: [npz]}}
- match: "*.nwb"
  recording: {{binary: null, gain_to_uv: null, probe_file: null}}
"""


class Arrivals:
    """Writes recordings into a folder.

    Parameters
    ----------
    folder : Path
        The recordings root.
    recordings : int
        How many different ones there are going to be.
    sort_s : float
        How long each sort takes.

    Attributes
    ----------
    arrived : list of Arrival
    """

    def __init__(self, folder: Path, recordings: int, sort_s: float) -> None:
        self._folder = folder
        self._writers: list[threading.Thread] = []
        self._ended = threading.Event()
        self.arrived: list[Arrival] = []
        recording, _ = make_ground_truth(SECONDS + _SHIFT_S * recordings, CHANNELS, 4, RATE_HZ, seed=1)
        self._samples: np.ndarray = recording.get_traces()
        write_probeinterface(folder / "probe.json", recording.get_probegroup())
        (folder / "sort_assets.yaml").write_text(_RULES.replace("SORT_S", str(sort_s)), encoding="utf-8")

    def arrive(self, arrival: Arrival) -> None:
        """Let a recording arrive, in the background where that takes time."""
        path = self._folder / arrival.name
        self.arrived.append(arrival)
        if arrival.how == "broken":
            path.write_bytes(_BROKEN)
        elif arrival.how == "slow":
            self._start(self._write_slowly, path, arrival)
        else:
            path.write_bytes(self._content(arrival).tobytes())
            if arrival.how == "removed":
                self._start(self._remove, path, arrival)

    def end(self) -> None:
        """Write and remove what is left to be written and removed, at once."""
        self._ended.set()
        for writer in self._writers:
            writer.join()

    def _content(self, arrival: Arrival) -> np.ndarray:
        first = round(arrival.content * _SHIFT_S * RATE_HZ)
        return self._samples[first : first + round(SECONDS * RATE_HZ)]

    def _start(self, target: "object", *arguments: object) -> None:
        assert callable(target)
        writer = threading.Thread(target=target, args=arguments, daemon=True)
        writer.start()
        self._writers.append(writer)

    def _write_slowly(self, path: Path, arrival: Arrival) -> None:
        with path.open("wb") as file:
            for piece in np.array_split(self._content(arrival), _PIECES):
                file.write(piece.tobytes())
                file.flush()
                self._ended.wait(1.0)

    def _remove(self, path: Path, arrival: Arrival) -> None:
        shortest, longest = _REMOVED_AFTER_S
        self._ended.wait(shortest + (longest - shortest) * (arrival.at_s % 1.0))
        path.unlink()


def write_times(journal: Path) -> list[tuple[float, str, int, str]]:
    """What the sorters wrote down: when, "start" or "finish", the process, the recording's key."""
    if not journal.exists():
        return []
    rows = [line.split("\t") for line in journal.read_text(encoding="utf-8").splitlines()]
    return [(float(at), what, int(pid), key) for at, what, pid, key in rows]
