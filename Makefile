# Two commands are all: `make run` and `make test`. Both build .venv by themselves.

# Overridable: PYTHON=python3.12 names the Python that makes .venv, ARGS goes to the program.
ARGS ?=
WORKERS ?= auto
# Of the fuzzer: how many inputs, and which; the same SEED makes the same ones.
INPUTS ?= 100000
SEED ?=
# Of the simulator: which run, or how many from there on, and of how many steps.
SEEDS ?=
STEPS ?=
BIN := .venv/bin
# All Python there is; a folder or script counts from the day it holds some.
CODE := src tests $(wildcard bench) $(wildcard tools/*.py)

export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test fuzz simulate check static format bench constraints clean

help: ## Show these commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/.run ## Serve a hall. ARGS='--help' shows what can be said.
	$(BIN)/moothall serve $(ARGS)

test: .venv/.dev ## Run all tests in parallel. ARGS='-k name' picks some.
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

fuzz: .venv/.dev ## Send strange bytes to all doors and readers. INPUTS=1000000 SEED=7.
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

simulate: .venv/.dev ## Simulate whole halls and power cuts. SEED=7 STEPS=50 plays one, SEEDS=1000 many.
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) \
	  $(if $(SEEDS),--seeds $(SEEDS)) $(if $(STEPS),--steps $(STEPS)) $(ARGS)

check: static ## Format, lint, types, floors and unit tests, in two or three minutes.
	$(BIN)/pytest -n $(WORKERS) --dist worksteal tests/unit $(ARGS)

static: .venv/.dev ## What `check` does without running a test.
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports
	$(BIN)/mypy $(CODE)

format: .venv/.dev ## Format the code and mend what ruff can mend.
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: .venv/.dev ## Measure beside the yardsticks. ARGS names what.
	$(BIN)/python -m bench $(ARGS)

# uv resolves for every Python and system at once; it is needed for nothing else.
constraints: .venv/.dev ## Renew constraints.txt. ARGS='--upgrade' takes the newest releases.
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header \
	  --extra dev \
	  --output-file constraints.txt $(ARGS) pyproject.toml

clean: ## Remove .venv, caches and build results.
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests tools $(wildcard bench) -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: pyproject.toml constraints.txt tools/setup
	tools/setup run

.venv/.dev: pyproject.toml constraints.txt tools/setup
	tools/setup dev
