"""On which device the demo was sorted, with which allocator, and what Kilosort says of the GPU."""

import json
import os
import re
from pathlib import Path


def main() -> None:
    """Print it for each sorting of the demo."""
    for path in Path(os.environ["SORT_ASSETS_STORE"]).glob("demo~*/sorting/current/manifest.json"):
        details = json.loads(path.read_text())["details"]
        params = details["effective_params"][""]
        print("device:", details["device"], "| degraded:", details["degraded"])
        allocator = {name: value for name, value in params.items() if "ALLOC_CONF" in name}
        print("allocator:", allocator or "torch's default")
        failed = [(check["name"], check["description"]) for check in details["checks"] if not check["passed"]]
        print("checks not passed:", failed)
        log = path.parent / "sorter/spikeinterface/sorter_output/kilosort4.log"
        print("Kilosort on the GPU:", re.findall(r"GPU (?:usage|memory): .*", log.read_text(errors="replace"))[:2])


if __name__ == "__main__":
    main()
