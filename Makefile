# Two commands matter: `make demo` and `make test`. Both need only Python >= 3.11 (with venv) and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete
KERNELS := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall ./audit/kernel ./integrator/kernel

.PHONY: setup kernel demo test unit unit-audit native kafka fault fault-ledger fault-ledger-whole postgresql conformance browser e2e shared lint lock clean help
.DEFAULT_GOAL := help

help: ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 28

setup: $(STAMP) ## create .venv with everything pinned in requirements.lock

$(STAMP): requirements.lock pyproject.toml audit/pyproject.toml adapters/pyproject.toml $(wildcard */kernel/*.pyx */kernel/*.toml)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "integrator needs Python 3.11 or later; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e audit -e . -e adapters
	@$(KERNELS) >/dev/null 2>&1 || echo "The ledger's native kernels could not be built: it works without, and writes more slowly. \`make kernel\` says why."
	@touch $@

kernel: $(STAMP) ## build the ledger's native kernels, which need a C compiler and Python's headers
	$(KERNELS)

lock: ## resolve the pinned set anew (needs uv)
	uv pip compile pyproject.toml audit/pyproject.toml adapters/pyproject.toml --group dev --extra kafka --extra otlp --extra postgresql --universal --generate-hashes \
	  --no-emit-package integrator --no-emit-package integrator-audit --no-emit-package integrator-adapters \
	  --no-header --no-annotate --quiet --output-file requirements.lock
	for group in conformance browser; do uv pip compile --group $$group --universal --generate-hashes \
	  --no-header --no-annotate --quiet --output-file requirements-$$group.lock; done

demo: setup ## play the main job on a real Kafka, and stay up until Ctrl-C
	@$(BIN)/integrator demo

test: setup ## every tier: lint, unit, real Kafka and PostgreSQL, foreign verifiers, faults, browser, end to end
	@$(BIN)/python -m tests.tiers

unit unit-audit native kafka fault fault-ledger postgresql conformance browser e2e shared lint: setup ## one tier of the tests
	@$(BIN)/python -m tests.tiers $@

fault-ledger-whole: setup ## every write step of every life of a ledger's writer, killed and failed: a quarter of an hour on two cores
	INTEGRATOR_TEST_EVERY_FAULT=1 $(BIN)/python -m pytest -n 2 --verbose tests/fault_ledger/test_steps.py

clean: ## remove the virtual environment and caches of this checkout
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache
