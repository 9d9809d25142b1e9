#!/bin/bash
# What only a machine with an NVIDIA GPU can tell about sort_assets: one run of about 8 minutes, without a network.
#
#   bash benchmarks/gpu_check_prepare.sh        at home, in the checkout: packages into .whl/
#   bash benchmarks/gpu_check.sh                on the GPU machine, in a copy of the checkout with .whl/ in it
#   ONLY="1 4 6" bash benchmarks/gpu_check.sh   some of the sections
#   DRY=1 bash benchmarks/gpu_check.sh          a rehearsal: all that needs no GPU, on the CPU, with what is installed
#
# Each section begins with "== number name (seconds)"; above it, EXPECT says what should be seen, and IF NOT what the
# difference means. All that is printed also goes to $OUT/log.txt. A section that hangs is cut off, and the next goes on.
# Other variables: PY (the Python), BUDGET (seconds for all), LEAVE_MIB (section 8). Its files are removed at the end.
set -uo pipefail
REPO=$(cd "$(dirname "$0")/.." && pwd)
PARTS=$REPO/benchmarks/gpu_check
OUT=${OUT:-/tmp/sort_assets_gpu_check}
DRY=${DRY:-0} ONLY=${ONLY:-} BUDGET=${BUDGET:-500} PY=${PY:-python3}
SORT_S=190; [ "$DRY" = 0 ] || SORT_S=400    # for one or two sorts
W=$(mktemp -d); trap 'rm -rf "$W"' EXIT
mkdir -p "$OUT" "$W"/{home,recordings,store,leases}
exec > >(tee "$OUT/log.txt") 2>&1

left() { echo $((BUDGET - SECONDS)); }
within() { local most=$1; shift; timeout "$(($(left) < most ? $(left) : most))" "$@"; }
gpu() { [ "$DRY" = 0 ]; }
section() {
  [ -z "$ONLY" ] || [[ " $ONLY " == *" ${1%% *} "* ]] || return 1
  [ "$(left)" -gt 5 ] || { echo; echo "== $1: no time is left"; return 1; }
  echo; echo "== $1 ($SECONDS s)"
}

if gpu; then
  site=$W/site
  $PY -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$REPO"/.whl/*.whl || exit 1
  export PYTHONPATH=$REPO:$site
else
  export PYTHONPATH=$REPO
fi
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=$W/numba COLUMNS=200 XDG_CACHE_HOME=$W/cache
export DAGSTER_HOME=$W/home SORT_ASSETS_RECORDINGS=$W/recordings SORT_ASSETS_STORE=$W/store SORT_ASSETS_LEASES=$W/leases
DEV=cuda; gpu || DEV=cpu
export DEV DRY OUT W
cp "$REPO"/dagster.yaml "$REPO"/workspace.yaml "$W/home/"
cd "$W" || exit 1    # so that no .env of the checkout is found
cat > sort-assets <<END
#!/bin/bash
exec $PY -c 'import sys; sys.argv[0] = "sort-assets"; from sort_assets.platform.cli import main; main()' "\$@"
END
chmod +x sort-assets

# EXPECT: one line with torch 2.x+cu1xx and "CUDA available True".  IF NOT: an import that fails names a package for
#   gpu_check_prepare.sh.
section "0 versions" && within 120 $PY - <<'END'
import platform
from importlib.metadata import version
import dagster, kilosort.run_kilosort, numpy, pynwb, spikeinterface.full, torch
import sort_assets.definitions
print(f"sort_assets {version('sort-assets')}, torch {torch.__version__}, numpy {numpy.__version__}, Kilosort "
      f"{version('kilosort')}, Python {platform.python_version()}, CUDA available {torch.cuda.is_available()}")
END

# EXPECT: the driver, its compute mode (default), MIG disabled; each GPU with its memory; "usable for sorting: yes"; of
#   doctor, no line on gpu but an ok one that names card and driver.
# EXPECT: process utilisation supported, and the host's pids seen.  IF NOT: the watchdog goes by what all programs use.
# EXPECT: persistence.  IF NOT: each start of CUDA on an idle GPU costs seconds more (section 6).
if section "1 machine, doctor"; then
  gpu && nvidia-smi --query-gpu=name,uuid,driver_version,compute_cap,compute_mode,persistence_mode,mig.mode.current,ecc.mode.current,memory.total,memory.used,temperature.gpu --format=csv
  within 60 $PY "$PARTS/machine.py"
  within 60 ./sort-assets init > /dev/null
  within 60 ./sort-assets doctor
fi

# EXPECT: "units found 8 of 8", accuracy above 0.9, sorting 25 to 45 s; the GPU's name as device; the allocator with
#   expandable_segments:True.  IF the device is the CPU: a warning must say why.  IF the allocator is torch's default: the
#   driver does not map memory, or torch was imported before the setting.
if section "2 demo"; then
  within $SORT_S ./sort-assets demo 2>&1 | tail -25
  within 20 $PY "$PARTS/demo_result.py"
fi

# EXPECT: out of memory, cublas, cufft, cusolver, cudnn -> DeviceOutOfMemoryError (GpuMemoryTakenError only where another
#   program holds much of the card); NaN -> NonFiniteSamplesError; an index out of bounds -> TransientGpuError, once more.
#   IF NOT: take the text into sort_assets_tests/backends/cuda_texts.py.
section "3 texts of failures, and their classes" && gpu && within 150 $PY "$PARTS/failures.py"

# EXPECT: about 2620 bytes per spike as Kilosort has it, and 1030 in blocks, the same clusters, in no more time.
# EXPECT: without expandable segments the large tensor does not fit, with them it fits.
# EXPECT: "can't hold the centre ... on the CPU" once, and about as many clusters in the little memory.
if section "4 memory of clustering"; then
  size=(--spikes 200000 --features 120); gpu || size=(--spikes 3000 --features 12)
  within 100 $PY "$REPO/benchmarks/clustering_memory.py" --device $DEV "${size[@]}" --memory-only --ways Kilosort "in blocks"
  gpu && within 20 $PY "$PARTS/segments.py"
  gpu && PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True within 20 $PY "$PARTS/segments.py"
  within 60 $PY "$PARTS/full_gpu.py"
fi

# EXPECT blocking: cpu share about 0, gpu above 5 %, alive.  IF NOT: a sort that only computes on the GPU is killed.
# EXPECT endless (one kernel of half a minute): cpu share about 1 or gpu 100 %, alive, not tripped after 20 s: only in stages
#   in which Kilosort logs steadily does the log alone count, after three times the tolerance.
# EXPECT silent: tripped after about 8 s with SorterTimeoutError.  Each process gone within 10 s.
section "5 watchdogs" && gpu && within 110 $PY "$PARTS/watchdogs.py"

# EXPECT: unset, 0, the UUID and its beginning: the GPU, and a child sees one. Empty, -1, NoDevFiles, 5: the CPU. Under a
#   lease of the CPU a child sees none.  IF it sees one: Kilosort on the CPU opens a context on another sort's GPU.
# EXPECT: imports 4 to 8 s, start of CUDA 0.5 to 3 s: what a process that is kept ready would save each sort.
if section "6 leases, start of a process"; then
  within 80 $PY "$PARTS/leases.py"
  within 60 $PY "$PARTS/start_times.py"
fi

# EXPECT: two sorts of 384 channels and 60 s, one after the other; 15 to 35 s between the last line of one and the first
#   of the other; the GPU used for 30 to 70 % of a sort.
if section "7 two sorts, one after the other"; then
  within 90 $PY "$PARTS/recordings.py" && ls -l recordings/np
  within 30 ./sort-assets init > /dev/null
  for name in a b; do within 40 ./sort-assets register "recordings/np/$name.dat" | tail -1; done
  preset=kilosort4; gpu || preset=kilosort4_few_channels
  echo "{\"resources\": {\"backend\": {\"config\": {\"preset\": \"$preset\"}}}}" > run.yaml
  launch() { within $SORT_S $PY -m dagster job execute -m sort_assets.definitions -j sort_recording --tags "{\"dagster/partition\": \"np~$1.dat\"}" -c run.yaml > "$OUT/job_$1.txt" 2>&1; }
  gpu && { nvidia-smi --query-gpu=timestamp,utilization.gpu,memory.used --format=csv,noheader,nounits -lms 200 > "$OUT/utilisation.csv" & watching=$!; }
  launch a & first=$!; sleep 3; launch b & second=$!
  wait $first; echo "job a: $?"; wait $second; echo "job b: $?"
  gpu && kill $watching
  within 40 $PY "$PARTS/timeline.py"
  cp store/np~a.dat/sorting/current/sorter/spikeinterface/sorter_output/kilosort4.log "$OUT/kilosort4_a.log"
fi

# EXPECT: GpuMemoryTakenError, whose text names the process of the hog and how much it holds, and that the sort waits
#   minutes for it; nothing is lowered before. (The wait is longer than this check: the run is cut off.)
#   IF there is no failure: LEAVE_MIB leaves too much.
if section "8 another program holds the GPU's memory" && gpu && [ -d store/np~a.dat ]; then
  $PY "$PARTS/hog.py" "${LEAVE_MIB:-2300}" & hog=$!; sleep 8
  echo '{"resources": {"backend": {"config": {"preset": "kilosort4", "sorter": {"params": {"nblocks": 0}}}}}}' > oom.yaml
  within 70 $PY -m dagster asset materialize -m sort_assets.definitions --select sorting --partition np~a.dat -c oom.yaml > "$OUT/oom.txt" 2>&1
  echo "run ended with $?"
  kill $hog
  grep -E "OutOfMemory|MemoryTaken|takes less|Attempt|other program|RetryRequested|Failure:" "$OUT/oom.txt" | cut -c1-260 | head -20
  within 20 $PY "$PARTS/attempts.py"
fi

# EXPECT: all passed, as at home.
if section "9 tests about GPUs, beside a real one" && gpu; then
  tests=sort_assets_tests
  (cd "$REPO" && within 120 $PY -m pytest -p no:cacheprovider -q -m "not slow and not alone" $tests/machine \
    $tests/platform/execution/test_leases.py $tests/running/watchdogs $tests/backends/test_gpu_failures.py \
    $tests/backends/test_kilosort4_memory.py $tests/backends/test_expandable_segments.py 2>&1 | tail -12)
fi
echo; echo "== end ($SECONDS s)"
