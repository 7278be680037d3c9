# The Attribute2Image book. `make book` renders it, `make test` checks everything; both start from a bare clone.
SHELL := /bin/bash -eo pipefail
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install book test style types smoke-book smoke-notebooks lint lock strip sync-address clean

PYTHON ?= python3
VENV ?= .venv
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))
UV_VERSION := 0.13.8
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PYTEST = env OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest --numprocesses $(JOBS) --dist loadscope
export VIRTUAL_ENV := $(abspath $(VENV))
export UV_NO_CONFIG := 1

help:  ## Show this list
	@echo "The Attribute2Image book"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo "  PYTHON=python3.12 make book   picks another Python (3.11 to 3.13)"

# uv lives inside the environment, so a Python that the system manages is never touched.
$(BIN)/uv:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "No '$(PYTHON)' here. Install Python 3.11 to 3.13, or name yours: PYTHON=/path/to/python make book" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "The book runs on Python 3.11 to 3.13; this is $$("$(PYTHON)" --version). Name another: PYTHON=python3.12 make book" >&2; exit 1; }
	@echo "Making $(VENV) with $$("$(PYTHON)" --version)"
	@if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
	  "$(PYTHON)" -m venv --clear "$(VENV)"; pip='$(BIN)/python -m pip'; \
	elif "$(PYTHON)" -m pip --version >/dev/null 2>&1; then \
	  "$(PYTHON)" -m venv --clear --without-pip "$(VENV)"; pip='$(PYTHON) -m pip --python $(BIN)/python'; \
	else \
	  echo "$(PYTHON) has neither ensurepip nor pip. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi; $$pip install -q --disable-pip-version-check "uv==$(UV_VERSION)"

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/uv
	@echo "Installing requirements.lock into $(VENV)"
	@"$(BIN)/uv" pip install -q --require-hashes -r requirements.lock
	@"$(BIN)/uv" pip install -q --no-deps --no-build-isolation -e .
	@touch "$@"

install: $(INSTALLED)  ## Make .venv with everything in it, from requirements.lock

book: $(INSTALLED)  ## Execute every chapter that changed and render the book to _build/html
	@"$(BIN)/python" book/tools/build.py --profile cpu --out _build

lint: style types  ## Style, formatting and types

style: $(INSTALLED)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

types: $(INSTALLED)
	"$(BIN)/mypy"

# Chapters run twice: for the page under papermill with another seed and world, and under nbval as they stand.
smoke-book: $(INSTALLED)
	@"$(BIN)/python" book/tools/build.py --profile smoke --vary --fork --jobs $(JOBS) --out _build/test

smoke-notebooks: $(INSTALLED)
	@"$(BIN)/python" book/tools/build.py --profile smoke --prepare _build/test/notebooks
	nice $(PYTEST) --nbval-lax --nbval-cell-timeout 300 _build/test/notebooks

# Side by side, so that no core waits while types are checked, pages rendered or the last chapter runs.
test: style  ## Everything: style, types, library, notebooks, and the book built in profile smoke
	@$(MAKE) --no-print-directory --jobs 3 types smoke-book smoke-notebooks
	$(PYTEST) --no-loadscope-reorder tests

lock: $(BIN)/uv  ## Resolve requirements.lock afresh from pyproject.toml
	"$(BIN)/uv" pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet \
	  --custom-compile-command "make lock" --output-file requirements.lock

strip sync-address: $(INSTALLED)  ## Put every chapter in its committed form: address, header, no unchecked outputs
	@"$(BIN)/python" book/tools/notebooks.py

clean:  ## Remove everything that was built, and the environment
	rm -rf "$(VENV)" _build
