"""`sort-assets doctor --cluster`: what is wrong with which node, asked through the engine."""

from sort_assets.checks.result import CheckResult, failed, warning
from sort_assets.config.settings import read_environment
from sort_assets.errors import EngineError, SortAssetsError, StoreError
from sort_assets.platform.engines.cluster import CONTROL_HOST, ask_all
from sort_assets.platform.engines.cluster_checks import judge
from sort_assets.platform.engines.status import nodes_of

_KUBERNETES = (
    "Pods are not asked: what a node of Kubernetes mounts and runs, the pods' own configuration says. One pod tells "
    "what all see"
)
_IN_A_POD = (
    "Run, in a pod with the image, the volumes and the environment of the steps: "
    "python -m sort_assets.platform.engines.node_report '{}'"
)


def examine_cluster() -> list[tuple[str, CheckResult]]:
    """A line for each node and check, those of the control host first."""
    try:
        engine = nodes_of(read_environment().engine)
        answers = ask_all(engine)
    except SortAssetsError as error:
        return [(CONTROL_HOST, failed("engine", error))]
    except OSError as error:
        problem = StoreError(
            f"The control host can't write to the store: {error}",
            remedy="Give the user that runs sort_assets the right to do so; look how it is mounted.",
        )
        return [(CONTROL_HOST, failed("store", problem))]
    rows = judge(answers, engine.variables_at)
    if read_environment().engine == "kubernetes":
        rows.append(("pods", warning("node", _KUBERNETES, _IN_A_POD)))
    elif read_environment().engine != "local" and len(answers) == 1:
        rows.append((CONTROL_HOST, failed("engine", EngineError("It has no nodes.", remedy="Start one."))))
    return rows
