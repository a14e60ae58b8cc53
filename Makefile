# Every target sets up what it needs in .venv and is quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
QUIETER := | { grep -v "already satisfied" || true; }
RUNTIME := $(VENV)/.installed
DEVELOPER := $(VENV)/.installed-dev
# Extra arguments: `make test PYTEST_ARGS="-k flow"`, `make quickstart ARGS="run.total_images=50000"`.
PYTEST_ARGS ?=
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: $(RUNTIME) ## Train on handwritten digits end to end: pictures, numbers, a checkpoint
	@$(BIN)/python jobs/quickstart.py $(ARGS)

.PHONY: test
test: $(DEVELOPER) ## Run the tests that need no GPU and are not slow, with coverage of at least 90 %
	$(BIN)/python -m pytest -m "not gpu and not slow" --cov --cov-report=term --cov-fail-under=90 $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(DEVELOPER) ## Run the slow tests: storms, soaks, whole recipes as submitted jobs
	$(BIN)/python -m pytest -m "slow and not gpu and not by_hand" $(PYTEST_ARGS)

.PHONY: lint
lint: $(DEVELOPER) ## Check style, imports, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

.PHONY: setup
setup: $(DEVELOPER) ## Install everything that running and testing need into .venv

.PHONY: clean
clean: ## Remove what tools left behind; runs, shards and .venv stay
	rm -rf build *.egg-info .coverage .coverage.* htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find jobs system data_pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 comes without ensurepip unless python3-venv is installed: then the pip that is
# there fills the environment from outside.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No '$(PYTHON)' on the path. Install Python 3.11 or newer, or say which one:" \
	    "make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Found $$($(PYTHON) --version 2>&1) as '$(PYTHON)'; this needs Python 3.11 or newer." \
	    "Say which one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  $(PYTHON) -m venv $(VENV); \
	else \
	  $(PYTHON) -m venv --without-pip $(VENV); \
	  $(PYTHON) -m pip --python $(VENV) install --quiet pip; \
	fi

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing packages into $(VENV) (about 6 GB the first time) ..."
	$(PIP) install --constraint constraints.txt --editable . $(QUIETER)
	@touch $@

$(DEVELOPER): $(RUNTIME)
	@echo "Installing the tools of tests and checks ..."
	$(PIP) install --constraint constraints.txt --editable '.[dev]' $(QUIETER)
	@touch $@
