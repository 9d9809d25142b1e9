#!/bin/bash
# Run at home, in the checkout (2 minutes, no GPU needed): puts into .whl/ what benchmarks/gpu_check.sh installs on a GPU
# machine without a network: wheels for Python 3.12, in the versions of constraints.txt, of what is missing there.
#
#   bash benchmarks/gpu_check_prepare.sh
#   LACKING="hdf5plugin tqdm" bash benchmarks/gpu_check_prepare.sh      further packages that are missing there
#
# It takes for granted a Python with torch for CUDA, numba, scikit-learn, pandas, pyarrow, h5py, matplotlib, rich, click,
# psutil, nvidia-ml-py and pytest. Left out is what neither a sort nor the check imports: Dagster's web server, apprise,
# pynapple, hdf5plugin, mtscomp. What travels, wheels and checkout, is to stay below 64 MiB.
set -euo pipefail
cd "$(dirname "$0")/.."
git check-ignore -q .whl/ || echo /.whl/ >> "$(git rev-parse --git-path info/exclude)"
PY=${PY:-python3}; [ -x .venv/bin/python ] && PY=.venv/bin/python
rm -rf .whl; mkdir .whl
dagster="dagster dagster-pipes dagster-shared alembic antlr4-python3-runtime coloredlogs docstring_parser
  grpcio-health-checking humanfriendly Mako pytz structlog tomli tomlkit toposort tzdata tzlocal
  universal_pathlib pathlib_abc watchdog python-dotenv"
settings="pydantic pydantic_core pydantic-settings annotated-types typing-inspection ruamel.yaml"
sorting="spikeinterface kilosort faiss-cpu probeinterface neo quantities zarr numcodecs asciitree fasteners numpy"
nwb="pynwb hdmf jsonschema jsonschema-specifications referencing rpds-py platformdirs Deprecated"
pins() {
  "$PY" - "$@" <<'END'
import re, sys
from pathlib import Path
def normal(name): return re.sub(r"[-_.]+", "-", name).lower()
lines = Path("constraints.txt").read_text().splitlines()
pinned = {normal(line.split("==")[0]): line.strip() for line in lines if "==" in line}
print(*(pinned.get(normal(name), name) for name in sys.argv[1:]))
END
}
fetch() { "$PY" -m pip --disable-pip-version-check download -qq --no-deps --only-binary=:all: --python-version 3.12 -d .whl "$@"; }
platforms=""
for minor in 5 12 14 17 24 27 28 31 34 35; do platforms="$platforms --platform manylinux_2_${minor}_x86_64"; done
platforms="$platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --platform linux_x86_64"
fetch --implementation cp $platforms $(pins $dagster $settings $sorting $nwb ${LACKING:-})
fetch --platform any $(pins SQLAlchemy)    # without its compiled part, which is large
"$PY" -m pip --disable-pip-version-check wheel -qq --no-deps -w .whl .    # its entry points and version
bytes=$( (ls .whl/* && git ls-files) | tr '\n' '\0' | du -cb --files0-from=- | tail -1 | cut -f1)
echo "$(ls .whl | wc -l) wheels; with the checkout $((bytes / 1024**2)) MiB"
