# One task runner. Each target with a `##` line shows in `make help`.
.DEFAULT_GOAL := help
.NOTPARALLEL:
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
ENGINE := $(PYTHON) scripts/engine.py
# Tests on all cores; more than four processes gain nothing. What may not run beside what: tests/conftest.py.
PYTEST := $(BIN)/pytest -q -n auto --maxprocesses 4
# Points `docker` at the private engine, where that is the one in use.
WITH_ENGINE := eval "$$($(ENGINE) env)" &&

.PHONY: help
help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

.PHONY: quickstart
quickstart: setup engine ## set up everything, build an example and test it
	@scripts/quickstart

.PHONY: test
test: setup engine parent lint types ## set up everything; lint, types, unit and integration tests
	@$(WITH_ENGINE) $(PYTEST)

.PHONY: setup
setup: $(INSTALLED) ## make .venv with the command at .venv/bin/mdai-build
$(INSTALLED): pyproject.toml $(wildcard constraints.txt)
	@PYTHON=$(PYTHON) scripts/setup

.PHONY: engine
engine: ## start a private Docker engine, unless one answers
	@$(ENGINE) start

.PHONY: engine-env
engine-env: ## print the shell line that points docker at the engine: eval "$(make engine-env)"
	@$(ENGINE) env

.PHONY: engine-down
engine-down: ## stop the private engine; its images stay
	@$(ENGINE) stop

.PHONY: parent
parent: setup engine ## make the local parent images, unless they are up to date
	@$(BIN)/python scripts/parent.py

.PHONY: lint
lint: setup ## style, format, the order of the rooms, and the site of the docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs

.PHONY: docs
docs: setup ## the documentation as a site, in dist/site; a link to nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: types
types: setup ## mypy, strict
	@$(BIN)/mypy
	@MYPYPATH=scripts:base_images/local $(BIN)/mypy scripts base_images/local

.PHONY: unit
unit: setup ## the quick tests, without an engine
	@$(PYTEST) -m "not process and not integration"

.PHONY: integration
integration: setup engine parent ## the tests with a real engine
	@$(WITH_ENGINE) $(PYTEST) tests/integration

.PHONY: gpu-test
gpu-test: setup ## on a machine with a GPU: test the GPU examples there, one table (GPU_TEST="--local --python PATH")
	@$(WITH_ENGINE) $(BIN)/python scripts/gpu_test.py $(GPU_TEST)

.PHONY: bench
bench: setup engine parent ## measure speed and size, and write the results table
	@$(WITH_ENGINE) $(BIN)/python -m benchmarks

.PHONY: fuzz
fuzz: setup ## feed invented bytes to the checks of the server, for five minutes (atheris)
	@$(BIN)/uv run --no-project --python 3.11 --with atheris,msgpack,numpy,pydicom,hypothesis \
		tests/fuzz/contract.py -max_total_time=300

.PHONY: scoreboard
scoreboard: setup engine parent ## invent hostile input and faults, and write docs/scoreboard.md and docs/faults.md
	@$(BIN)/python scripts/scoreboard.py
	@$(WITH_ENGINE) $(BIN)/python scripts/faults.py

.PHONY: clean
clean: ## remove what these targets made in this folder; the engine and its images stay
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
