# make demo | make up | make test: each sets up .venv first, once.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := demo
.PHONY: install demo up lint test system

install: $(STAMP)

# torch goes first and pinned: any other way of asking for it may fetch another build.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable '.[cpu-sorters,mountainsort5,test]'
	$(BIN)/sort-assets init
	touch $@

demo: install
	$(BIN)/sort-assets demo

up: install
	$(BIN)/sort-assets up

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Most tests wait for processes, so some files run at a time; those that compare times run alone.
test: lint system
	$(BIN)/pytest -m alone
	$(BIN)/pytest -m "not slow and not alone" --numprocesses 2 --dist loadfile
	$(BIN)/pytest -m "slow and not alone" --numprocesses 3 --dist loadfile

# Some tests need a browser, or a clock that can be made to jump. They are installed only where that is this system's way
# and we may.
system:
	@missing=; \
	command -v chromium google-chrome >/dev/null || missing=chromium; \
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$$missing libfaketime"; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Tests that need it are skipped (apt-get install): $$missing"; fi
