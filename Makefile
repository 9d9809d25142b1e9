# make demo | make up | make test-fast | make test | make test-all | make bench: each sets up .venv first, once.
# With TORCH_BUILD=cu126, say, torch comes as another build of the same version, for cards and drivers that PyPI's build
# does not serve (`sort-assets doctor` says which one does); it stays until another is asked for.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt
PYTORCH_INDEX ?= https://download.pytorch.org/whl
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH := $(if $(TORCH_BUILD),'torch==$(TORCH_VERSION)+$(TORCH_BUILD)' --extra-index-url $(PYTORCH_INDEX)/$(TORCH_BUILD),torch)
TORCH_STAMP := $(if $(TORCH_BUILD),.venv/.torch-$(TORCH_BUILD))
# Most tests wait for processes, so more of them run at a time than there are cores.
AT_A_TIME ?= 3
SLOW_AT_A_TIME ?= 4
MYPY_PROCESSES ?= 2
# One thread of BLAS and torch for each process: threads that spin for a core are many times slower on a busy machine.
export OMP_NUM_THREADS := 1
# The tests start hundreds of processes: each would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := demo
.PHONY: install demo up lint docs test-fast test test-without-linters test-all bench soak system

install: $(STAMP) $(TORCH_STAMP)

# torch goes first, pinned and by pip: any other way of asking for it may fetch another build. For the rest uv takes a
# fraction of pip's time; it finds torch installed, and fetches none. Where pip is told of another index or a proxy, which uv
# would not know of, and where uv fails, pip does that too. What is installed is compiled at the end, on all cores, but for
# what is hardly ever imported; a file that can't be compiled is one that nobody imports.
PACKAGES := --editable '.[cpu-sorters,mountainsort5,test]'
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --cache-dir .venv/.uv --constraint constraints.txt
HARDLY_IMPORTED := /tests/|/sympy/|/kubernetes/aio/|/ray/(rllib|serve|tune|train|data)/|/torch/(_inductor|testing|onnx)/
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	! $(BIN)/python -m pip config list | grep -qE '\.(index-url|no-index|proxy)=' && \
		$(PIP) uv && $(UV) $(PACKAGES) || $(PIP) $(PACKAGES)
	rm -rf .venv/.uv
	$(BIN)/python -m compileall -qq -j 0 -x '$(HARDLY_IMPORTED)' .venv/lib || true
	$(BIN)/python -m sort_assets.curation.compile_ahead
	$(BIN)/sort-assets init
	touch $@

# Where .venv had been set up with another build; where it has just been set up with this one, pip has nothing to do.
.venv/.torch-%: | $(STAMP)
	$(PIP) $(TORCH)
	rm -f .venv/.torch-*
	touch $@

demo: install
	$(BIN)/sort-assets demo

up: install
	$(BIN)/sort-assets up

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers $(MYPY_PROCESSES)
	$(BIN)/lint-imports

# The documentation, in site/index.html.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# While working: linters, types, import contracts, and every test that takes seconds.
test-fast: lint
	$(BIN)/pytest -m "not slow and not alone" --numprocesses $(AT_A_TIME) --dist loadfile

# What CI runs. Whatever waits, for a network, a disk or another process, has something beside it that computes. Beside the
# tests mypy keeps to one process: those that it starts must answer within 3 s.
test:
	$(MAKE) --jobs=2 system install
	$(BIN)/pytest -m alone sort_assets_tests/end_to_end
	$(MAKE) --jobs=2 MYPY_PROCESSES=0 lint test-without-linters

test-without-linters: install
	$(BIN)/pytest -m "not release and not alone" --numprocesses $(SLOW_AT_A_TIME) --dist loadgroup --no-loadscope-reorder

# Before a release, or before an issue is called resolved: also every sorter on every format, and the rarest faults.
test-all: test
	$(BIN)/pytest -m release --numprocesses $(SLOW_AT_A_TIME) --dist loadgroup --no-loadscope-reorder

# Every figure with its aim, in less than 15 minutes on two cores, when nothing else runs. BENCH=full: the long rows too;
# BENCH=small: whether all benchmarks run.
bench: BENCH ?= usual
bench: BENCH_JSON ?= bench.json
bench: install
	$(BIN)/python -m benchmarks.bench --size $(BENCH) --json $(BENCH_JSON)

# Recordings arrive for an hour while processes are killed and the database is cut, at random. What became of them is in
# the table that it prints at the end, also after Ctrl-C. SOAK_OPTIONS: see `python -m sort_assets_tests.soak --help`.
soak: SOAK_MINUTES ?= 60
soak: system install
	$(BIN)/python -m sort_assets_tests.soak --minutes $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED)) $(SOAK_OPTIONS)

# Some tests need a browser, a clock that can be made to jump, a compiler for the libraries that stand for a GPU's
# driver, a PostgreSQL, or a Slurm. They are installed only where that is this system's way and we may.
system:
	@missing=; \
	command -v chromium google-chrome >/dev/null || missing=chromium; \
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$$missing libfaketime"; \
	command -v gcc >/dev/null && [ -e /usr/include/stdio.h ] || missing="$$missing gcc libc6-dev"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	for command in slurmctld slurmd munged sbatch; do command -v $$command >/dev/null || [ -x /usr/sbin/$$command ] || \
		{ missing="$$missing slurmctld slurmd slurm-client munge"; break; }; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Tests that need it are skipped (apt-get install): $$missing"; fi
