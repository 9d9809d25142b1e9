"""How the attempts of a sort failed, what each ran with, and what its result says."""

import json
import os
from pathlib import Path

RECORDING = "np~a.dat"


def main() -> None:
    """Print it of the first recording."""
    sorting = Path(os.environ["SORT_ASSETS_STORE"]) / RECORDING / "sorting"
    for path in sorted((sorting / "failed").glob("*/failure.json"))[:6]:
        attempt = json.loads(path.read_text())
        failure = attempt["failure"]
        print("attempt", attempt["attempt"], failure["classes"][0], "| stage", failure["stage"])
        print("    ran with", attempt.get("scaled"), "| remedy:", str(failure["remedy"])[:200])
        print("    ", failure["message"][:300])
    manifest = sorting / "current/manifest.json"
    if manifest.is_file():
        details = json.loads(manifest.read_text())["details"]
        print("now current: degraded", details["degraded"], details["scaled"], details["num_units"], "units")


if __name__ == "__main__":
    main()
