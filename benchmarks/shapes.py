"""Which of a sorter's settings fit which shape of recording: known units found, by shape and by candidate settings.

    python -m benchmarks.shapes
    python -m benchmarks.shapes --shapes tetrode "shank of 8" --settings '{}' '{"do_CAR": false}' --seeds 0 1
    python -m benchmarks.shapes --sorter mountainsort5 --seconds 60

Each sort goes the product's own way (bad channels, filter, `.dat`, sorter), in a temporary folder (TMPDIR chooses the
place), and prints one line of JSON: known units that were found (accuracy of at least 0.8, as SpikeInterface counts
it), known units, units of the sorting, seconds. The settings {} are the product's defaults for the shape; a parameter
that is named wins over them. What `sort_assets.backends.shape` chooses is decided by these numbers.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_tree import BenchmarkError
from benchmarks.rows import Row, Size
from sort_assets.backends import create_backend
from sort_assets.backends.base import UNSORTABLE
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SortAssetsError
from sort_assets.testing.comparison import unit_accuracies
from sort_assets.testing.shapes import SHAPES, make_shape
from sort_assets.testing.sort_run import make_sort_input

FOUND_FROM = 0.8
QUICK = [name for name, shape in SHAPES.items() if shape.num_channels <= 64]


def sort(shape: str, sorter: str, params: dict[str, Any], seconds: float, seed: int) -> dict[str, Any]:
    """Sort one recording, and compare the result with its known units."""
    config = SortingPipelineConfig.model_validate(
        {
            "sorter": {"name": sorter, "params": params, "device": "cpu"},
            "execution": {"n_jobs": 1, "isolation": "in_process"},
        }
    )
    backend = create_backend(config)
    raw, known = make_shape(shape, seconds, seed=seed)
    outcome: dict[str, Any] = {"shape": shape, "sorter": sorter, "params": params, "seconds": seconds, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        recording, dat_path = make_sort_input(backend, raw, Path(folder))
        begin = time.monotonic()
        try:
            found = backend.sort(recording, None, dat_path, Path(folder) / "sorter")
        except SortAssetsError as error:
            return {**outcome, "failed": f"{type(error).__name__}: {error.message}"}
        took_s = round(time.monotonic() - begin, 1)
    accuracies = unit_accuracies(known, found) if found.get_num_units() else np.zeros(known.get_num_units())
    reason = found.get_annotation(UNSORTABLE)
    return {
        **outcome,
        "found": int(np.sum(accuracies >= FOUND_FROM)),
        "known": known.get_num_units(),
        "units": found.get_num_units(),
        "accuracies": np.round(accuracies, 2).tolist(),
        **({"unsortable": reason["message"]} if reason else {}),
        "took_s": took_s,
    }


def rows(size: Size) -> Iterator[Row]:
    """Known units that are found with the product's own settings; only in the whole run, since each is a sort."""
    chosen, sorter, seconds = {
        "small": (["tetrode"], "mountainsort5", 5.0),
        "usual": ([], "kilosort4", 30.0),
        "full": (QUICK, "kilosort4", 30.0),
    }[size]
    for shape in chosen:
        outcome = sort(shape, sorter, {}, seconds, seed=0)
        if "failed" in outcome:
            raise BenchmarkError(f"{shape}: {outcome['failed']}")
        note = f"{outcome['found']} of {outcome['known']}, {outcome['units']} units in the sorting"
        found = outcome["found"] / outcome["known"]
        yield Row(f"{shape}, {seconds:g} s, {sorter}", found, "of the known units are found", None, note)


def main() -> None:
    """Sort every shape with all settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=QUICK)
    parser.add_argument("--sorter", default="kilosort4")
    parser.add_argument("--settings", nargs="+", type=json.loads, default=[{}], help="sorter.params, as JSON objects")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    for shape in arguments.shapes:
        for seed in arguments.seeds:
            for params in arguments.settings:
                print(json.dumps(sort(shape, arguments.sorter, params, arguments.seconds, seed)), flush=True)


if __name__ == "__main__":
    main()
