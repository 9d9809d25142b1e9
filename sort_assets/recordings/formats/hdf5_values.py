"""Reading the numbers or timestamps of samples from HDF5 as quickly as the machine's cores allow.

HDF5 decompresses on one core, which for the timestamps of two hours takes ten seconds and more. Here the compressed
chunks are read as they are, and decompressed on several.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from sort_assets.machine.cores import usable_cores

_MOST_THREADS = 8
_FEW_CHUNKS = 4
"""With fewer chunks, nothing is gained."""


@contextmanager
def quick_values(dataset: h5py.Dataset) -> Iterator[Any]:
    """A data set of one dimension that is read from its beginning to its end: itself, or read ahead on all cores.

    Parameters
    ----------
    dataset : h5py.Dataset

    Yields
    ------
    array_like
        With `shape`, `dtype`, `ndim`, `size`, and slices.
    """
    filters = {dataset.compression, *(["shuffle"] if dataset.shuffle else [])}
    is_plain = dataset.ndim == 1 and dataset.chunks is not None and not dataset.fletcher32 and not dataset.scaleoffset
    if not is_plain or not filters <= {"gzip", "shuffle"} or len(dataset) < _FEW_CHUNKS * dataset.chunks[0]:
        yield dataset
        return
    threads = min(_MOST_THREADS, usable_cores())
    with ThreadPoolExecutor(threads) as pool:
        yield _ReadAhead(dataset, pool, threads + 1)


class _ReadAhead:
    """A compressed data set of which the next chunks are being decompressed while one is looked at."""

    def __init__(self, dataset: h5py.Dataset, pool: ThreadPoolExecutor, ahead: int) -> None:
        self.shape, self.dtype, self.ndim, self.size = dataset.shape, dataset.dtype, dataset.ndim, dataset.size
        self._dataset, self._pool, self._ahead = dataset, pool, ahead
        self._length = int(dataset.chunks[0])
        self._chunks: dict[int, Future[np.ndarray]] = {}

    def __len__(self) -> int:
        return int(self.size)

    def __getitem__(self, wanted: slice | int) -> Any:
        if not isinstance(wanted, slice):
            return self[wanted : wanted + 1][0]
        start, end, _ = wanted.indices(self.size)
        first, last = start // self._length, max(start, end - 1) // self._length
        for index in [index for index in self._chunks if index < first]:
            self._chunks.pop(index).cancel()
        num_chunks = -(-self.size // self._length)
        for index in range(first, min(last + 1 + self._ahead, num_chunks)):
            if index not in self._chunks:
                self._chunks[index] = self._pool.submit(self._decompress, index, *self._read(index))
        values = np.concatenate([self._chunks[index].result() for index in range(first, last + 1)])
        return values[start - first * self._length : end - first * self._length]

    def _read(self, index: int) -> tuple[int, bytes]:
        """Which filters were left out, and the content as stored; a chunk that was never written has none."""
        try:
            mask, content = self._dataset.id.read_direct_chunk((index * self._length,))
        except (OSError, RuntimeError):
            return 0, b""
        return int(mask), bytes(content)

    def _decompress(self, index: int, mask: int, content: bytes) -> np.ndarray:
        start = index * self._length
        if mask or not content:
            return np.asarray(self._dataset[start : start + self._length])
        raw = zlib.decompress(content)
        if self._dataset.shuffle:
            raw = np.frombuffer(raw, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()
        return np.frombuffer(raw, self.dtype)[: self.size - start]
