"""Kilosort's built-in waveforms: they come with its package, and few channels are sorted better with them.

Kilosort looks for spikes with waveforms and principal components that it learns from every 25th batch
(`spikedetect.extract_wPCA_wTEMP`, 4.1.7). Of a tetrode of a minute that is two batches of 2 s with some 20 spikes: what
it learns of them is noise in part, and spikes of one cell are found at several offsets, as several units. With
`templates_from_data` false it takes built-in ones, which its package has (`wTEMP.npz`), but which 4.1.7 looks for in
the user's folder, and downloads.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sort_assets.backends.kilosort4.replaced_functions import Replacement, replaced

LEARNING: Mapping[str, int] = {"nt": 61, "n_pcs": 6, "n_templates": 6, "Th_single_ch": 6}
"""Kilosort's defaults for what decides how it learns. The built-in waveforms have these sizes."""


def waveforms_in_package() -> Path | None:
    """The file of Kilosort's package with the built-in waveforms, if it has one; found without importing Kilosort."""
    package = importlib.util.find_spec("kilosort")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name("wTEMP.npz")
    return path if path.is_file() else None


def learns_as_by_default(params: Mapping[str, Any]) -> bool:
    """Whether nobody chose how Kilosort learns waveforms, so that the built-in ones can take their place."""
    return all(params.get(name, usual) == usual for name, usual in LEARNING.items())


@contextmanager
def waveforms_of_package() -> Iterator[None]:
    """Let Kilosort take its built-in waveforms from its package, not from the network, for as long as this lasts."""
    path = waveforms_in_package()
    if path is None:
        yield
        return
    of_package = Replacement("kilosort.spikedetect", "template_path", ("basename",), lambda _: lambda *_args: str(path))
    with replaced(of_package, otherwise="Built-in waveforms are looked for in the user's folder, and downloaded."):
        yield
