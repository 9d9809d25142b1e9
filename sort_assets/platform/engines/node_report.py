"""What a node is like, as one line of JSON for `sort-assets doctor --cluster`. The program that runs on each node.

::

    python -m sort_assets.platform.engines.node_report '{"node": "n1"}'

Engines send the text of this file to the node's Python, so that there is an answer also where sort_assets is missing
or has another version: at its top it imports Python's own modules only. After each part it prints the whole report
anew, and which part comes next: of a node that hangs, one then knows where.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MARK = "sort_assets node report: "
"""How a line with a report begins: shells and modules of a cluster print things of their own."""
HELD, DONE = b"held", b"done"
_POLL_S = 0.1
_APPEARS_WITHIN_S = 5.0
"""What was just made on one host, another may not see at once: NFS remembers that a file was not there."""


def main(words: list[str]) -> None:
    """Print the report that is asked for.

    Parameters
    ----------
    words : list of str
        One, JSON with: `node` (its name), `defaults` (variables for where it has none), `packages` (names), `folder`
        (of this inquiry, below the store), `me` and `peers` (who takes part), `meet_s` (how long to wait for others),
        `entries` (names in the recordings root). All but the first may be missing.
    """
    asked = json.loads(words[0])
    for name, value in asked.get("defaults", {}).items():
        os.environ[name] = os.environ.get(name) or value
    report: dict[str, Any] = {"node": asked.get("node", ""), "host": socket.gethostname(), "time": time.time()}
    parts = {
        "packages": lambda: _packages(asked.get("packages", ["sort-assets", "dagster", "spikeinterface"])),
        "machine": _machine,
        "recordings": lambda: _recordings(asked.get("entries", [])),
        "store": lambda: _store(asked.get("folder", ""), asked.get("me", "")),
        "scratch": _scratch,
        "locks": lambda: _locks(asked),
        "gpu": _gpu,
        "database": _database,
    }
    for part, look in parts.items():
        print(f"{MARK}{json.dumps({**report, 'next': part})}", flush=True)
        try:
            report[part] = look()
        except Exception as error:  # a node in any state is to give a line for every part
            report[part] = {"error": f"{type(error).__name__}: {error}"}
    print(f"{MARK}{json.dumps({**report, 'next': ''})}", flush=True)


def _packages(names: list[str]) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"versions": versions, "code": _code(), "environment": sys.prefix}


def _code() -> str:
    """A hash of the code of sort_assets: two checkouts of one version may differ. Empty where there is none."""
    spec = importlib.util.find_spec("sort_assets")
    if spec is None or not spec.submodule_search_locations:
        return ""
    root = Path(next(iter(spec.submodule_search_locations)))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _machine() -> dict[str, Any]:
    memory_kib = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory_kib = int(line.split()[1])
    return {"cpus": os.cpu_count() or 1, "memory_bytes": memory_kib * 1024}


def _folder(variable: str) -> tuple[dict[str, Any], Path | None]:
    named = os.environ.get(variable, "")
    if not named:
        return {"problem": "not named"}, None
    folder = Path(named)
    found: dict[str, Any] = {"path": named}
    if not folder.is_absolute():
        return {**found, "problem": "not absolute"}, None
    if not folder.is_dir():
        return {**found, "problem": "missing"}, None
    return {**found, **_mount(folder), "free_bytes": shutil.disk_usage(folder).free}, folder


def _recordings(entries: list[str]) -> dict[str, Any]:
    found, folder = _folder("SORT_ASSETS_RECORDINGS")
    if folder is None:
        return found
    try:
        here = {path.name for path in folder.iterdir()}
    except PermissionError:
        return {**found, "problem": "not readable"}
    if entries and not set(entries) & here:
        return {**found, "problem": "other folder"}
    return found


def _store(inquiry: str, me: str) -> dict[str, Any]:
    found, folder = _folder("SORT_ASSETS_STORE")
    if folder is None or not inquiry:
        return found
    place = folder / inquiry
    deadline = time.monotonic() + _APPEARS_WITHIN_S
    while not place.is_dir():
        if time.monotonic() > deadline:
            return {**found, "problem": "other folder"}
        time.sleep(_POLL_S)
    clock = place / f"{me}.clock"
    try:
        clock.write_bytes(b"?")
        written = clock.stat().st_mtime
    except OSError as error:
        problem = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "not writable"
        return {**found, "problem": problem, "error": str(error)}
    return {**found, "ahead_of_files_s": time.time() - written}


def _scratch() -> dict[str, Any] | None:
    if not os.environ.get("SORT_ASSETS_SCRATCH"):
        return None
    found, folder = _folder("SORT_ASSETS_SCRATCH")
    if folder is not None and not os.access(folder, os.W_OK):
        found["problem"] = "not writable"
    return found


def _mount(folder: Path) -> dict[str, Any]:
    """The file system of a folder: its type, and all options of its mount."""
    real, best = os.path.realpath(folder), ""
    found: dict[str, Any] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        ours, _, theirs = line.partition(" - ")
        point = ours.split()[4].encode().decode("unicode_escape")
        if (real == point or real.startswith(f"{point.rstrip('/')}/")) and len(point) >= len(best):
            best = point
            kind, source, options = (*theirs.split(), "", "", "")[:3]
            together = sorted({*ours.split()[5].split(","), *options.split(",")} - {""})
            found = {"type": kind, "source": source, "options": together}
    return found


def _locks(asked: dict[str, Any]) -> dict[str, Any] | None:
    """Hold a lock that the others try, and try theirs: for each of them that came, whether its lock was noticed."""
    store, me, inquiry = os.environ.get("SORT_ASSETS_STORE", ""), asked.get("me", ""), asked.get("folder", "")
    place = Path(store) / inquiry
    if not store or not inquiry or not place.is_dir():
        return None
    deadline = time.monotonic() + float(asked.get("meet_s", 30.0))
    others = [peer for peer in asked.get("peers", []) if peer != me]
    held = os.open(place / f"{me}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(held, HELD, 0)
        os.fsync(held)
        noticed: dict[str, bool] = {}
        waiting = set(others)
        while waiting and time.monotonic() < deadline:
            for peer in sorted(waiting):
                seen = _is_noticed(place / f"{peer}.lock")
                if seen is not None:
                    noticed[peer] = seen
                if seen is not None or (place / f"{peer}.absent").exists():
                    waiting.remove(peer)
            time.sleep(_POLL_S)
        (place / f"{me}.tried").touch()
        # The others try this lock for as long as its file says that it is held.
        while time.monotonic() < deadline and not all(_is_over(place, peer) for peer in others):
            time.sleep(_POLL_S)
        os.pwrite(held, DONE, 0)
        os.fsync(held)
    finally:
        os.close(held)
    return {"noticed": noticed}


def _is_over(place: Path, peer: str) -> bool:
    return (place / f"{peer}.tried").exists() or (place / f"{peer}.absent").exists()


def _is_noticed(path: Path) -> bool | None:
    """Whether a lock that another host holds is noticed here; None while that host does not hold it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.pread(descriptor, len(HELD), 0) != HELD:
            return None
        # Shared, so that nobody takes another one who tries it for its holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False if os.pread(descriptor, len(HELD), 0) == HELD else None
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _gpu() -> dict[str, Any]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        from sort_assets.errors import SortAssetsError
        from sort_assets.machine.cuda_check import check_gpu
        from sort_assets.machine.cuda_reasons import describe
        from sort_assets.machine.gpus import list_gpus
    except ImportError as error:
        return {"visible": visible, "error": f"not asked, without sort_assets: {error}"}
    try:
        gpus = list_gpus()
    except SortAssetsError as error:
        return {"visible": visible, "gpus": [], "trouble": error.to_dict()}
    found = []
    for gpu in gpus:
        reason = None if gpu.trouble else check_gpu(gpu, anew=True)
        trouble = {"message": gpu.trouble, "remedy": gpu.remedy} if gpu.trouble else None
        if reason is not None:
            trouble = {"message": reason.message, "remedy": reason.remedy}
        found.append({"name": describe(gpu), "trouble": trouble})
    return {"visible": visible, "gpus": found}


def _database() -> dict[str, Any] | None:
    """Whether the database of the Dagster instance answers; its password is in nothing that is said."""
    secret = os.environ.get("SORT_ASSETS_POSTGRES_URL", "")
    if not secret:
        return None
    os.environ["SORT_ASSETS_DATABASE_WAIT_S"] = "3"
    try:
        from pydantic import SecretStr
        from sqlalchemy import create_engine, text
        from sqlalchemy.engine import make_url

        from sort_assets.errors import SortAssetsError
        from sort_assets.platform.engines.postgres_connection import prepare_address
    except ImportError as error:
        return {"error": f"not asked, for a package is missing: {error}"}
    try:
        address = prepare_address(SecretStr(secret))
        url = make_url(address)
        with create_engine(address).connect() as connection:
            connection.execute(text("SELECT 1"))
    except SortAssetsError as error:
        return {"problem": error.message, "remedy": error.remedy}
    except Exception as error:  # whose words may quote the address
        return {"problem": f"It can't be used ({type(error).__name__}).", "remedy": ""}
    return {"answers": f"{url.host}:{url.port or 5432}/{url.database}"}


if __name__ == "__main__":
    main(sys.argv[1:])
