"""Reading compressed HDF5 samples block by block, without decompressing the same chunks again for each block.

HDF5 keeps 1 MiB of decompressed chunks (8 MiB from version 2), and none that is larger. Chunks of NWB files span
seconds of some tens of channels (10 MB by NeuroConv's default), so that a pass in blocks of a second decompressed each
of them several times.
"""

import math

import h5py

LIMIT_BYTES = 256 * 2**20
"""The most decompressed chunks that an open recording keeps in memory."""
_SLOTS = 10_007
"""A prime, above the number of chunks that may be kept: chunks with the same slot take each other's place."""
_READ_ONCE_FIRST = 0.75
"""HDF5's default preference for dropping chunks that have been read to their end."""


def with_chunk_cache(samples: h5py.Dataset) -> h5py.Dataset:
    """The dataset, opened so that HDF5 keeps the chunks of one moment of all channels, or of two, in memory.

    Parameters
    ----------
    samples : h5py.Dataset
        Shape (times, channels) or (times,). Unchanged where it has no chunks, or those of one moment take more than
        `LIMIT_BYTES`.
    """
    if not isinstance(samples, h5py.Dataset) or samples.chunks is None or not samples.name:
        return samples
    across = math.prod(
        math.ceil(size / chunk) for size, chunk in zip(samples.shape[1:], samples.chunks[1:], strict=True)
    )
    at_a_time = across * math.prod(samples.chunks) * samples.dtype.itemsize
    kept = min(2 * at_a_time, LIMIT_BYTES)
    if kept < at_a_time:
        return samples
    slots, default, _ = samples.id.get_access_plist().get_chunk_cache()
    if kept <= default:
        return samples
    file, name = samples.file, samples.name.encode()
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(max(_SLOTS, slots), kept, _READ_ONCE_FIRST)
    # HDF5 takes the settings of whoever opens a dataset first, so that the other handle has to be closed.
    samples.id.close()
    return h5py.Dataset(h5py.h5d.open(file.id, name, access))
