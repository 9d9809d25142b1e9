# make demo | make up | make test: each sets up .venv first, once.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := demo
.PHONY: install demo up lint test browser

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

test: lint browser
	$(BIN)/pytest

# The browser tests need chromium. It is installed only where that is this system's way and we may.
browser:
	@if command -v chromium google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "No chromium: the browser tests are skipped (apt-get install chromium)."; fi
