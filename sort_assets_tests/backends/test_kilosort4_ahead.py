"""What Kilosort's process does ahead of its device must not start CUDA: it would take the device of another sort."""

import json
import subprocess
import sys

import pytest

PREPARE = """
import json, sys, torch
asked = []
for name in ("is_available", "device_count", "init", "_lazy_init"):
    setattr(torch.cuda, name, lambda *_args, _name=name, **_named: asked.append(_name) or 0)
from sort_assets.backends.kilosort4 import Kilosort4Backend
from sort_assets.backends.sorter_run import prepare_job
from sort_assets.running.job import importable_name
prepare_job(backend=importable_name(Kilosort4Backend), modules=list(Kilosort4Backend.imported_ahead), dat_paths=[])
print(json.dumps([asked, "kilosort.run_kilosort" in sys.modules]))
"""


@pytest.mark.slow
@pytest.mark.release
def test_nothing_that_kilosorts_process_imports_ahead_asks_for_a_gpu() -> None:
    done = subprocess.run([sys.executable, "-c", PREPARE], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout.splitlines()[-1]) == [[], True]
