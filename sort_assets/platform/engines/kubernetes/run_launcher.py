"""Each run's worker in a pod of its own, so that it does not end with the control host's pod."""

from dagster._serdes import ConfigurableClassData
from dagster_k8s import K8sRunLauncher
from kubernetes.config import ConfigException

from sort_assets.config.settings import KUBERNETES_VARIABLE
from sort_assets.errors import InstanceError
from sort_assets.platform.engines.kubernetes.settings import launcher_settings


def kubernetes_run_launcher(inst_data: ConfigurableClassData | None) -> K8sRunLauncher:
    """dagster-k8s' run launcher, with the settings of this host.

    Raises
    ------
    InstanceError
        When the settings are not complete, or there is no way to Kubernetes.
    """
    settings = launcher_settings()
    try:
        return K8sRunLauncher(inst_data=inst_data, **settings)
    except ConfigException as error:
        raise InstanceError(
            f"Kubernetes can't be reached from here: {error}",
            remedy="Run the control host in a pod with a service account. Outside of the cluster, set "
            f"load_incluster_config: false and kubeconfig_file in the file that {KUBERNETES_VARIABLE} names.",
        ) from error
