"""Kilosort4 (https://github.com/MouseLand/Kilosort), through SpikeInterface."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.spikeinterface_backend import MemoryParameter, SpikeInterfaceBackend

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording


class Kilosort4Backend(SpikeInterfaceBackend):
    """Kilosort4, reading our `.dat` in place and keeping its own whitening."""

    name = "kilosort4"
    uses_gpu = True
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # Memory of the detection stages is proportional to the batch. Half a second at 30 kHz is the smallest batch
        # that Kilosort's documentation recommends, for very many channels (hardware.rst).
        MemoryParameter("sorter.params.batch_size", default=60000, floor=15000),
    )
    # Only of recordings without a .dat, which a notebook may hand in.
    temporary_copy = "recording.dat"

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return {"torch_device": self.config.sorter.device, **self.job_kwargs}

    def default_params(self) -> dict[str, Any]:
        from spikeinterface.core.globals import get_global_job_kwargs
        from spikeinterface.sorters.external.kilosort4 import Kilosort4Sorter

        return {**_kilosort_defaults(), **Kilosort4Sorter._si_default_params, **get_global_job_kwargs()}

    def _clean_up(self, output_folder: Path) -> None:
        super()._clean_up(output_folder)
        # After a failure the handlers stay, and the next sort of this process would write into both logs.
        logger = logging.getLogger("kilosort")
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


def _kilosort_defaults() -> dict[str, Any]:
    """Kilosort's own parameters, read from its file, because importing kilosort takes many seconds."""
    package = importlib.util.find_spec("kilosort")
    assert package is not None
    assert package.origin is not None
    spec = importlib.util.spec_from_file_location(
        "kilosort_parameters", Path(package.origin).with_name("parameters.py")
    )
    assert spec is not None
    assert spec.loader is not None
    parameters = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parameters)
    # These are taken from the recording.
    taken = ("fs", "n_chan_bin", "tmin", "tmax")
    described = parameters.MAIN_PARAMETERS | parameters.EXTRA_PARAMETERS
    return {name: parameter["default"] for name, parameter in described.items() if name not in taken}
