"""What the reports of the nodes say, beside that of the control host: a line for each node and check."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.config.settings import (
    POSTGRES_VARIABLE,
    RECORDINGS_VARIABLE,
    SCRATCH_VARIABLE,
    STORE_VARIABLE,
)
from sort_assets.errors import NodeSetupError
from sort_assets.platform.engines.cluster import CONTROL_HOST, Answer, NodeBusyError

_NEEDED = ("sort-assets", "dagster")
"""Without these, or with others, no step runs; of the others, results say with which versions they were made."""
_CLOCK_WARNING_S, _CLOCK_ERROR_S = 2.0, 60.0
_LITTLE_SCRATCH_BYTES = 50e9
_PARTS = {
    "packages": "its packages", "machine": "its memory", "recordings": "the recordings", "store": "the store",
    "scratch": "the scratch folder", "locks": "locks in the store", "gpu": "the GPU", "database": "the database",
}  # fmt: skip
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "9p")
_NO_LOCKS = {
    "nolock": "nolock",
    "local_lock=all": "local_lock=all",
    "local_lock=flock": "local_lock=flock",
    "nobrl": "nobrl",
    "localflock": "localflock",
    "noflock": "noflock",
}
"""Options of a mount (NFS, SMB, Lustre) with which its locks are those of one host."""


def judge(answers: Sequence[Answer], variables_at: str) -> list[tuple[str, CheckResult]]:
    """The results of all nodes.

    Parameters
    ----------
    answers : sequence of Answer
        That of the control host first.
    variables_at : str
        Where the variables of a node are set.

    Returns
    -------
    list of tuple
        The node's name, and a result.
    """
    control = answers[0].report
    names = {str(number): answer.node.name for number, answer in enumerate(a for a in answers if not a.node.out)}
    rows = []
    for answer in answers:
        # The variables of the control host stand elsewhere than those of a node.
        at = "in the .env file" if answer.node.name == CONTROL_HOST else variables_at
        rows += [(answer.node.name, result) for result in _of_node(answer, control, names, at)]
    return rows


def _of_node(answer: Answer, control: Mapping[str, Any], names: Mapping[str, str], at: str) -> Iterator[CheckResult]:
    report, node = answer.report, answer.node
    if node.out:
        yield warning("node", f"It takes no jobs: {node.out}.", "Bring it back, if it is to sort.")
        return
    if not report:
        if isinstance(answer.problem, NodeBusyError):
            yield warning("node", f"Not asked: {answer.busy}", "Ask again when it has something free.")
        elif answer.problem is not None:
            yield failed("node", answer.problem)
        return
    part = report.get("next", "")
    if part:
        yield failed(
            "node",
            NodeSetupError(
                f"It did not come to an end: it was looking at {_PARTS.get(part, part)}.",
                remedy="Try it there by hand (`ls`, `nvidia-smi`): what does not answer makes them hang.",
            ),
        )
    else:
        yield ok("node", f"host {report['host']}")
    judged: dict[str, Callable[[], Iterator[CheckResult]]] = {
        "packages": lambda: _packages(report["packages"], control.get("packages", {})),
        "recordings": lambda: _folder("recordings", RECORDINGS_VARIABLE, report["recordings"], at),
        "store": lambda: _folder("store", STORE_VARIABLE, report["store"], at),
        "scratch": lambda: _scratch(report["scratch"], at),
        "locks": lambda: _locks(report["locks"], names),
        "gpu": lambda: _gpu(report["gpu"], answer),
        "database": lambda: _database(report["database"], node.name, at),
        "machine": lambda: _machine(report["machine"], answer),
    }
    for name, look in judged.items():
        found = report.get(name, {"error": "not asked"} if not part else None)
        if isinstance(found, Mapping) and "error" in found and "problem" not in found:
            yield failed(name, NodeSetupError(f"It could not be found out: {found['error']}", remedy="Look there."))
        elif name in report:
            yield from look()
    if node.name != CONTROL_HOST:
        yield from _clock(answer, control)


def _packages(found: Mapping[str, Any], control: Mapping[str, Any]) -> Iterator[CheckResult]:
    here, there = found["versions"], control.get("versions", {})
    needed: list[str] = []
    others: list[str] = []
    for package, version in there.items():
        mine = here.get(package, "is missing")
        # Of Python, the last number changes nothing.
        same = mine.split(".")[:2] == version.split(".")[:2] if package == "python" else mine == version
        if not same:
            (needed if package in _NEEDED else others).append(f"{package} {mine} (the control host has {version})")
    remedy = f"Install the versions of the control host in {found['environment']}."
    if needed:
        text = f"No step runs there: {'; '.join([*needed, *others])}."
        yield failed("versions", NodeSetupError(text, remedy=remedy))
    elif others:
        yield warning("versions", f"Results may depend on the node: {'; '.join(others)}.", remedy)
    elif found["code"] != control.get("code"):
        yield warning(
            "versions",
            f"sort-assets {here['sort-assets']} with other code (in {found['environment']}) than the control host.",
            "Install the same commit there.",
        )
    else:
        shown = ", ".join(f"{name} {here[name]}" for name in ("sort-assets", "dagster", "python") if name in here)
        yield ok("versions", f"{shown} and {len(here) - 3} others as on the control host")


def _folder(name: str, variable: str, found: Mapping[str, Any], at: str) -> Iterator[CheckResult]:
    path = found.get("path", "")
    problem = {
        "not named": (f"{variable} is not set.", f"Set it {at}."),
        "not absolute": (f"{variable} is '{path}', which is not absolute.", f"Correct it {at}."),
        "missing": (
            f"There is no folder '{path}'.",
            f"Make it there, or set {variable} {at}."
            if variable == SCRATCH_VARIABLE
            else f"Mount it there or, where it has another path on that node, set {variable} {at}.",
        ),
        "other folder": (
            f"'{path}' is not the folder that the control host has: what is in that one is not in it.",
            f"Mount the same one there, or correct {variable} {at}.",
        ),
        "not readable": (f"'{path}' can't be read.", "Give the user that sorts the right to do so."),
        "not writable": (
            f"'{path}' can't be written to: {found.get('error')}.",
            "Give the user that sorts the right to do so; look whether it is mounted read-only.",
        ),
        "full": (f"'{path}' is full: {found.get('error')}.", "Free some space: `sort-assets gc`."),
    }.get(found.get("problem", ""))
    if problem is not None:
        yield failed(name, NodeSetupError(problem[0], remedy=problem[1]))
        return
    options = found.get("options", [])
    shown = [one for one in options if one.startswith(("vers", "local_lock", "nolock", "actimeo", "soft"))]
    kind = f"{found.get('type')} from {found.get('source')}"
    lacks = [_NO_LOCKS[one] for one in options if one in _NO_LOCKS]
    detail = ", ".join([path, f"{found['free_bytes'] / 1e9:.0f} GB free", kind, *shown])
    if name == "store" and lacks:
        yield failed(
            "store",
            NodeSetupError(
                f"{detail}: with the option {', '.join(lacks)}, no other host notices a lock that is taken here.",
                remedy="Mount it without that option; NFS with vers=4 and local_lock=none.",
            ),
        )
    elif name == "store" and "soft" in options and found.get("type") in _NETWORK:
        yield warning("store", f"{detail}: with the option soft, a slow server spoils what is written.", "Mount hard.")
    else:
        yield ok(name, detail)


def _scratch(found: Mapping[str, Any] | None, at: str) -> Iterator[CheckResult]:
    if found is None:
        return
    if found.get("problem") or found["free_bytes"] >= _LITTLE_SCRATCH_BYTES:
        yield from _folder("scratch", SCRATCH_VARIABLE, found, at)
    else:
        yield warning(
            "scratch",
            f"{found['path']}: {found['free_bytes'] / 1e9:.1f} GB free",
            "The .dat of a sort that does not fit is read where it is. Free some space there.",
        )


def _locks(found: Mapping[str, Any] | None, names: Mapping[str, str]) -> Iterator[CheckResult]:
    if found is None:  # without the store
        return
    noticed = {names.get(peer, peer): seen for peer, seen in found["noticed"].items()}
    unnoticed = [name for name, seen in noticed.items() if not seen]
    if unnoticed:
        yield failed(
            "locks",
            NodeSetupError(
                f"A lock that {', '.join(unnoticed)} holds in the store is not noticed here: two hosts could sort the "
                "same recording, or remove what the other writes.",
                remedy="Export the store over NFSv4 and mount it with local_lock=none on all hosts, or use another "
                "file system whose locks hold across hosts.",
            ),
        )
    elif noticed:
        yield ok("locks", f"those of {', '.join(sorted(noticed))} are noticed")
    elif len(names) > 1:
        yield warning("locks", "No other host came in time, so that no lock could be tried.", "Ask again.")


def _clock(answer: Answer, control: Mapping[str, Any]) -> Iterator[CheckResult]:
    report = answer.report
    # It began between these two, by the clock of the control host.
    early, late = answer.asked - report["time"], report["time"] - answer.answered
    apart = max(early, late, 0.0)
    how = "that of the control host"
    here, there = (one.get("store") or {} for one in (report, control))
    if "ahead_of_files_s" in here and "ahead_of_files_s" in there:
        by_files = here["ahead_of_files_s"] - there["ahead_of_files_s"]
        if abs(by_files) > apart:
            apart, early, late = abs(by_files), -by_files, by_files
            how += ", by the times of files in the store"
    if apart <= _CLOCK_WARNING_S:
        yield ok("clock", f"{apart:.1f} s apart or less")
        return
    text = f"Its clock is {apart:.0f} s {'behind' if early > late else 'ahead of'} {how}."
    remedy = "Let both follow a time server: `timedatectl set-ntp true`, or chrony."
    if apart > _CLOCK_ERROR_S:
        yield failed("clock", NodeSetupError(text, remedy=remedy))
    else:
        yield warning("clock", text, remedy)


def _gpu(found: Mapping[str, Any], answer: Answer) -> Iterator[CheckResult]:
    if answer.busy:
        yield warning("gpu", f"Not asked: {answer.busy}.", "Ask again when one is free.")
        return
    trouble = found.get("trouble")
    if trouble:
        yield failed("gpu", NodeSetupError(trouble["message"], remedy=trouble["remedy"]))
    for gpu in found.get("gpus", []):
        if gpu["trouble"]:
            yield failed("gpu", NodeSetupError(gpu["trouble"]["message"], remedy=gpu["trouble"]["remedy"]))
        else:
            yield ok("gpu", f"{gpu['name']}: torch computes on it")
    if not trouble and not found.get("gpus"):
        if answer.node.gpus:
            yield warning(
                "gpu",
                f"The engine declares {answer.node.gpus}, and NVIDIA's driver lists none "
                f"(CUDA_VISIBLE_DEVICES is '{found.get('visible') or ''}'): sorts would run on the CPU.",
                "Run nvidia-smi there; install the driver, or correct what the engine declares.",
            )
        else:
            yield ok("gpu", "none")


def _database(found: Mapping[str, Any] | None, node: str, at: str) -> Iterator[CheckResult]:
    if found is None:
        if node != CONTROL_HOST:
            error = NodeSetupError(
                f"{POSTGRES_VARIABLE} is not set there: the SQLite files of the home are on the control host only.",
                remedy=f"Set it on the control host, and {at}.",
            )
            yield failed("database", error)
    elif "problem" in found:
        remedy = found["remedy"] or f"See that this host can reach it, and correct {POSTGRES_VARIABLE} {at}."
        yield failed("database", NodeSetupError(found["problem"], remedy=remedy))
    else:
        yield ok("database", f"PostgreSQL at {found['answers']} answers")


def _machine(found: Mapping[str, Any], answer: Answer) -> Iterator[CheckResult]:
    node, memory = answer.node, found["memory_bytes"]
    has = f"{found['cpus']} CPUs and {memory / 1e9:.0f} GB of memory"
    if node.cpus > found["cpus"] or node.memory_bytes > memory:
        yield warning(
            "cpus and memory",
            f"It has {has}, and the engine declares {node.cpus} and {node.memory_bytes / 1e9:.0f} GB.",
            "Correct what the engine declares: steps are started for which there is no room.",
        )
    else:
        yield ok("cpus and memory", has)
