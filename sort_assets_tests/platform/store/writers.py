"""What several tests of the store do: publish small artefacts, and leave what a killed writer leaves."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sort_assets.platform.store.details import Details
from sort_assets.platform.store.manifest import InputVersion
from sort_assets.platform.store.store import Artefact, Store

WRITER = """
import sys, time
from pathlib import Path
from sort_assets.platform.store.store import Store
root, asset, run_id, attempt, files = *sys.argv[1:5], Path(sys.argv[5])
with Store(Path(root)).stage("rec", asset, run_id=run_id, attempt=int(attempt)) as staging:
    for path in files.rglob("*"):
        if path.is_file():
            copy = staging.path / path.relative_to(files)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    print("writing", flush=True)
    time.sleep(600)
"""

SORTER = """
import sys, time
from pathlib import Path
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.sort_lock import sort_lock
with sort_lock(Store(Path(sys.argv[1])), "rec", run_id=sys.argv[2]):
    print("sorting", flush=True)
    time.sleep(600)
"""


def publish(
    store: Store,
    asset: str,
    content: bytes = b"x",
    *,
    recording: str = "rec",
    run_id: str = "0123456789",
    made_from: Artefact | None = None,
    details: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Artefact:
    """A version of an asset with one file and one figure."""
    inputs = {}
    if made_from is not None:
        read = made_from.manifest
        inputs[read.asset] = InputVersion(version=read.version, data_version=read.data_version)
    with store.stage(recording, asset, run_id=run_id) as staging:
        (staging.path / "traces.dat").write_bytes(content)
        (staging.figures / "raster.png").write_bytes(b"picture")
        return staging.publish(
            data_version="v", config=config or {}, config_sources={}, inputs=inputs, details=Details(**(details or {}))
        )


def start(code: str, *words: str | Path) -> "subprocess.Popen[bytes]":
    """A process that runs `code`, once it has said something."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def kill(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL."""
    process.kill()
    process.wait()


def killed_writer(
    store: Store, asset: str, folder: Path, files: Mapping[str, str | bytes], *, run_id: str = "dead", attempt: int = 1
) -> None:
    """Leave the staging of a writer that was killed after it had written files, by their paths."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    kill(start(WRITER, store.root, asset, run_id, str(attempt), folder))
