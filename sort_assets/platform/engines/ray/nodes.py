"""The nodes of a Ray, and how a program is run on one of them while somebody waits for what it prints."""

import base64
import secrets
import shlex
import time
import zlib
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus
from ray.util.state import list_nodes

from sort_assets.config.settings import read_environment
from sort_assets.errors import EngineUnavailableError
from sort_assets.platform.engines import node_report
from sort_assets.platform.engines.cluster import LIMIT_S, WAIT_S, Node, NodeBusyError
from sort_assets.platform.engines.ray.step_handler import RayClient

_A_LITTLE = 0.01
"""Of a CPU or GPU: enough for Ray to place a job, and little enough not to wait for steps."""
_POLL_S = 0.5
_WAITS = (JobStatus.PENDING,)


class RayNodes:
    """The nodes of the Ray that `SORT_ASSETS_RAY_ADDRESS` names."""

    variables_at = "in the environment of the node's `ray start`"

    def __init__(self) -> None:
        self._address = read_environment().ray_address.rstrip("/")
        self._ids: dict[str, str] = {}

    def nodes(self) -> list[Node]:
        """All that Ray knows of.

        Raises
        ------
        EngineUnavailableError
            When its head does not answer.
        """
        try:
            listed = list_nodes(address=self._address, detail=True)
        except Exception as error:  # of requests, of Ray, or of its server
            raise EngineUnavailableError(
                f"Ray at {self._address} does not answer: {error}",
                remedy="Start its head (`ray start --head …`), or correct SORT_ASSETS_RAY_ADDRESS.",
            ) from error
        names = [str(node.node_name) for node in listed]
        found = []
        for node in sorted(listed, key=lambda node: str(node.node_name)):
            # Nodes are named by their address, unless `ray start --node-name` says otherwise.
            once = names.count(str(node.node_name)) == 1
            name = str(node.node_name) if once else f"{node.node_name} ({node.node_id[:8]})"
            if node.state != "ALIVE" and not once:
                continue  # an earlier life of it
            self._ids[name] = node.node_id
            total: dict[str, Any] = node.resources_total or {}
            found.append(
                Node(
                    name,
                    cpus=int(total.get("CPU", 0)),
                    gpus=int(total.get("GPU", 0)),
                    memory_bytes=int(total.get("memory", 0)),
                    out="" if node.state == "ALIVE" else f"Ray says that it is {node.state}",
                )
            )
        return found

    def ask(self, node: Node, request: str, *, gpu: bool) -> str:
        """Run `node_report` as a job of Ray on a node.

        Raises
        ------
        NodeBusyError
            When it does not start within some time.
        EngineUnavailableError
            When Ray's head does not answer.
        """
        program = base64.b64encode(zlib.compress(Path(node_report.__file__).read_bytes())).decode()
        code = f"import base64, zlib; exec(zlib.decompress(base64.b64decode('{program}')))"
        name = f"sort_assets-doctor-{secrets.token_hex(8)}"
        try:
            client = RayClient(self._address)
            client.submit_job(
                submission_id=name,
                entrypoint=shlex.join(["python", "-c", code, request]),
                entrypoint_num_cpus=_A_LITTLE if node.cpus else 0,
                entrypoint_num_gpus=_A_LITTLE if gpu else 0,
                entrypoint_label_selector={"ray.io/node-id": self._ids[node.name]},
            )
            return _output(client, name, gpu=gpu)
        except (OSError, RuntimeError) as error:
            raise EngineUnavailableError(
                f"Ray at {self._address} could not be asked: {error}",
                remedy="See whether `ray status` answers, and Ray's dashboard.",
            ) from error


def _output(client: RayClient, name: str, *, gpu: bool) -> str:
    began = time.monotonic()
    while True:
        status, waited = client.get_job_status(name), time.monotonic() - began
        if status.is_terminal():
            output = str(client.get_job_logs(name))
            # Where not even Python starts, Ray's own words say why.
            return output if node_report.MARK in output else f"{output}\n{client.get_job_info(name).message or ''}"
        if (status in _WAITS and waited > WAIT_S) or waited > LIMIT_S:
            output = "" if status in _WAITS else str(client.get_job_logs(name))
            client.stop_job(name)
            if status in _WAITS:
                wanted = "GPU and CPU" if gpu else "CPU"
                raise NodeBusyError(
                    f"Ray gave it no {wanted} within {WAIT_S:g} s.", remedy="Ask again when it has something free."
                )
            return output
        time.sleep(_POLL_S)
