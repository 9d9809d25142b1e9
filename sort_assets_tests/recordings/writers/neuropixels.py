"""Neuropixels probes for files that are written: which sites stand for a recording's channels, and flat samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording

NUM_READOUT_CHANNELS = 384
STRAIGHT_COLUMNS = "NP1015"
"""The part number of a Neuropixels 1 whose two columns stand straight, 32 micrometres apart with rows each 20: the
contacts of `make_probe` are sites of it."""

PROBE_TYPES = {"NP1000": 0, "NP1010": 0, "NP1015": 0, "NP2013": 2013, "NP2014": 2013}
"""Part number to the type of the table of readout channels."""

LFP_DECIMATION = 12
"""Samples of the action potential band for each of the local field potential: 30000 / 2500 Hz."""

_CHUNK_SAMPLES = 30000
# Where the blocks of 48 sites of each shank are connected (SpikeGLX, IMROTbl_T24::elToCh).
_BLOCKS_OF_SHANK = (
    (0, 2, 4, 6, 5, 7, 1, 3),
    (1, 3, 5, 7, 4, 6, 0, 2),
    (4, 6, 0, 2, 1, 3, 5, 7),
    (5, 7, 1, 3, 0, 2, 4, 6),
)
_BLOCK_SITES = 48


@dataclass(frozen=True)
class Sites:
    """The sites that a probe reads, and which of them the channels of a recording are.

    Attributes
    ----------
    probe : Probe
        All sites of the part.
    all_sites : np.ndarray
        Index in `probe` of the site that each readout channel reads, shape (384,).
    saved : np.ndarray
        Readout channels of the recording's channels, ascending, as files hold them, shape (channels,).
    order : np.ndarray
        Index in the recording of the channel that each of `saved` is, shape (channels,).
    """

    probe: Probe
    all_sites: np.ndarray
    saved: np.ndarray
    order: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """Where the saved channels are, in micrometres, shape (channels, 2)."""
        return np.asarray(self.probe.contact_positions[self.all_sites[self.saved]])

    def electrode(self, site: int) -> int:
        """Number of a site on its shank."""
        return int(site) - self.shank(site) * self._sites_per_shank

    def shank(self, site: int) -> int:
        """Number of the shank of a site."""
        return int(site) // self._sites_per_shank

    @property
    def _sites_per_shank(self) -> int:
        shanks = 1 if self.probe.shank_ids is None else len(set(self.probe.shank_ids))
        return int(self.probe.get_contact_count()) // shanks


def nearest_sites(recording: BaseRecording, part_number: str) -> Sites:
    """The sites of a part that are nearest to a recording's channels, each with a readout channel of its own.

    Parameters
    ----------
    recording : BaseRecording
        With a probe.
    part_number : str
        One of `PROBE_TYPES`.
    """
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    probe = build_neuropixels_probe(part_number)
    num_sites = probe.get_contact_count()
    several_shanks = probe.shank_ids is not None
    readout = np.array(
        [_readout_channel(site, num_sites // 4 if several_shanks else None) for site in range(num_sites)]
    )
    free = np.ones(num_sites, dtype=bool)
    chosen = np.empty(recording.get_num_channels(), dtype=int)
    for channel, location in enumerate(recording.get_channel_locations()[:, :2]):
        distances = np.linalg.norm(probe.contact_positions - location, axis=1)
        chosen[channel] = np.argmin(np.where(free, distances, np.inf))
        free[readout == readout[chosen[channel]]] = False
    all_sites = np.empty(NUM_READOUT_CHANNELS, dtype=int)
    all_sites[readout[:NUM_READOUT_CHANNELS]] = np.arange(NUM_READOUT_CHANNELS)
    all_sites[readout[chosen]] = chosen
    order = np.argsort(readout[chosen])
    return Sites(probe, all_sites, readout[chosen][order], order)


def write_flat(
    recording: BaseRecording,
    segment: int,
    path: Path,
    *,
    order: np.ndarray,
    gains_uv: np.ndarray,
    added: np.ndarray | None = None,
    decimation: int = 1,
) -> str:
    """Write a segment as int16, one sample of all channels after the other, a chunk at a time.

    Parameters
    ----------
    recording : BaseRecording
        With gains.
    segment : int
        Index of the segment.
    path : Path
        The file to write.
    order : np.ndarray
        Indices of the recording's channels in the order of the file.
    gains_uv : np.ndarray
        Microvolts per count of each channel in the file, shape (channels,).
    added : np.ndarray or None
        Counts of further channels, shape (samples, further channels).
    decimation : int
        How many samples are averaged into one.

    Returns
    -------
    str
        SHA1 of the file, in upper case.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    num_samples = recording.get_num_samples(segment) // decimation
    step = _CHUNK_SAMPLES // decimation
    with path.open("wb") as file:
        for start in range(0, num_samples, step):
            stop = min(start + step, num_samples)
            microvolts = recording.get_traces(
                segment, start_frame=start * decimation, end_frame=stop * decimation, return_in_uV=True
            )
            microvolts = microvolts.reshape(stop - start, decimation, -1).mean(axis=1)
            counts = np.clip(np.rint(microvolts[:, order] / gains_uv), -32768, 32767).astype("<i2")
            if added is not None:
                counts = np.hstack([counts, added[start:stop].astype("<i2")])
            data = counts.tobytes()
            digest.update(data)
            file.write(data)
    return digest.hexdigest().upper()


def _readout_channel(site: int, sites_per_shank: int | None) -> int:
    """The readout channel to which a site can be connected: on one shank by its bank, on four by blocks."""
    if sites_per_shank is None:
        return site % NUM_READOUT_CHANNELS
    shank, electrode = divmod(site, sites_per_shank)
    block, in_block = divmod(electrode % NUM_READOUT_CHANNELS, _BLOCK_SITES)
    return _BLOCK_SITES * _BLOCKS_OF_SHANK[shank][block] + in_block
