"""The example's file of settings, as tests use it."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sort_assets_tests.fixtures.home import CHECKOUT

EXAMPLES = CHECKOUT / "examples" / "kubernetes"


def settings_file(folder: Path, **changed: Any) -> Path:
    """Write the example, for a control host outside of the cluster."""
    content = YAML(typ="safe").load((EXAMPLES / "pods.yaml").read_text(encoding="utf-8"))
    path = folder / "pods.yaml"
    path.write_text(json.dumps(content | {"load_incluster_config": False} | changed), encoding="utf-8")
    return path
