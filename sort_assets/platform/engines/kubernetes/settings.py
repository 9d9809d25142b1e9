"""How the pods of runs and steps are made: a file with the settings of dagster-k8s' run launcher, which we complete.

dagster-k8s gives to the pod of a step what its run launcher gives to the pod of a run; what a step asks for comes on
top.
"""

import os
from pathlib import Path
from typing import Any

from dagster._config import process_config

# Without public names; dagster-k8s itself checks its settings so.
from dagster._config.field import resolve_to_config_type
from dagster_k8s import K8sRunLauncher
from pydantic import SecretStr
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sort_assets.config.settings import (
    CORES_VARIABLE,
    DAGSTER_HOME_VARIABLE,
    ENGINE_VARIABLE,
    KUBERNETES_VARIABLE,
    LEASES_VARIABLE,
    POSTGRES_VARIABLE,
    Environment,
    read_environment,
)
from sort_assets.errors import InstanceError

_OF_THIS_HOST = (DAGSTER_HOME_VARIABLE, LEASES_VARIABLE, CORES_VARIABLE)
_RUN_WORKER = {"requests": {"cpu": "250m", "memory": "2G"}, "limits": {"memory": "2G"}}
"""A run worker only waits for its steps."""
_GRACE_S = 60
"""For a step to end its sorter and to clean up, after which Kubernetes kills it."""


def launcher_settings() -> dict[str, Any]:
    """The settings of dagster-k8s' run launcher: those of the file, ours where it says nothing, and the environment.

    Raises
    ------
    InstanceError
        When there is no file, it has mistakes, or it lacks what pods need.
    """
    environment = read_environment()
    if environment.postgres_url is None:
        raise InstanceError(
            f"{ENGINE_VARIABLE} is 'kubernetes', and {POSTGRES_VARIABLE} is not set: pods can't use SQLite files of "
            "another host.",
            remedy=f"Set {POSTGRES_VARIABLE} from a secret of Kubernetes, here and (env_secrets) in the pods.",
        )
    path = _named_file(environment)
    asked = _read(path)
    _refuse_clear_secrets(path, asked)
    completed = {
        # dagster-k8s asks for it and uses it nowhere: the instance goes with the command of each pod.
        "instance_config_map": "sort-assets",
        "resources": _RUN_WORKER,
        **asked,
        "env_vars": [*_forwarded_variables(), *(asked.get("env_vars") or ())],
    }
    pod = completed.setdefault("run_k8s_config", {}).setdefault("pod_spec_config", {})
    if "terminationGracePeriodSeconds" not in pod:
        pod.setdefault("termination_grace_period_seconds", _GRACE_S)
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), completed)
    if not checked.success:
        problems = "; ".join(error.message for error in checked.errors or ())
        raise InstanceError(
            f"The settings of Kubernetes in '{path}' have mistakes: {problems}",
            remedy="Correct them; the fields are those of K8sRunLauncher in dagster-k8s' documentation.",
        )
    return dict(checked.value or {})


def _named_file(environment: Environment) -> Path:
    path = environment.kubernetes
    if path is not None and path.is_absolute():
        return path
    raise InstanceError(
        f"{ENGINE_VARIABLE} is 'kubernetes', and {KUBERNETES_VARIABLE} "
        f"{'is not set' if path is None else f'({path}) is no absolute path'}.",
        remedy="Let it name the file that says how pods are made, such as examples/kubernetes/pods.yaml.",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InstanceError(
            f"The settings of Kubernetes in '{path}' can't be read: {error}",
            remedy=f"Correct the file, or {KUBERNETES_VARIABLE}. Pods of runs need it too: mount it there (volumes).",
        ) from error
    lacking = [name for name in ("job_image", "service_account_name", "env_secrets") if not (content or {}).get(name)]
    if not isinstance(content, dict) or lacking:
        raise InstanceError(
            f"The settings of Kubernetes in '{path}' lack {', '.join(lacking) or 'everything'}.",
            remedy=f"Name the image, the service account that may make jobs, and the secret with {POSTGRES_VARIABLE}.",
        )
    return content


def _refuse_clear_secrets(path: Path, asked: dict[str, Any]) -> None:
    for name in _variables(secret=True):
        if any(str(given).partition("=")[0] == name for given in asked.get("env_vars") or ()):
            raise InstanceError(
                f"'{path}' gives {name} to pods in clear: everybody who may look at pods would read it.",
                remedy="Put it into a secret of Kubernetes, and name that in env_secrets.",
            )


def _forwarded_variables() -> list[str]:
    """Our variables that are set here, but for secrets and for what is of this host alone, as NAME=value."""
    return [f"{name}={os.environ[name]}" for name in _variables(secret=False) if os.environ.get(name)]


def _variables(*, secret: bool) -> list[str]:
    return [
        str(field.validation_alias)
        for field in Environment.model_fields.values()
        if (SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))) is secret
        and field.validation_alias not in _OF_THIS_HOST
    ]
