# One command set for everyone: these targets are what CI runs (.ci/run).

# Two a core: the tests wait more than they compute.
PYTEST_WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
ARGS ?=

TORTURE_MINUTES ?= 10
TORTURE_SEED ?= 1

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SETUP := requirements/setup.sh

# uv trusts what the system trusts (a company's own certificate authority, say), as pip does, and downloads no Python.
export UV_SYSTEM_CERTS ?= 1
export UV_PYTHON_DOWNLOADS ?= never
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

INSTALL := $(UV) pip install --quiet --python $(BIN)/python
COMPILE := $(UV) pip compile --quiet --python $(BIN)/python --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(ARGS)

# Stamps: set-up does nothing while what it was made from is unchanged.
BOOTSTRAPPED := $(VENV)/.bootstrap-installed
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed
FOREIGN := $(VENV)/foreign/.installed
MODULES := tests/foreign/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test torture check lock bench bench-quick bench-profile foreign docs format clean runtime system

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV) ## create .venv with everything locked in requirements/ and the package itself, editable

# exec, so that signals reach the service itself; setpriv (Linux), so that it ends even when make is killed with -9.
run: $(RUNTIME) ## start a private Valkey, the service, and a page with live events: http://127.0.0.1:8000
	@exec $$(command -v setpriv >/dev/null && echo setpriv --pdeathsig TERM) $(BIN)/gapless demo $(ARGS)

test: $(DEV) $(FOREIGN) $(MODULES) system ## run the tests (ARGS="-k cursor" chooses)
	@$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

torture: $(DEV) ## prove the promise by histories, for TORTURE_MINUTES=10, with seeds from TORTURE_SEED=1 on; shrink what fails
	@$(BIN)/python -m tests.promise.scheduler.torture --minutes $(TORTURE_MINUTES) --seed $(TORTURE_SEED) $(ARGS)

check: $(DEV) ## lint, format, types, and who may import whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(BENCH) ## measure the gateway beside its peers, 20 minutes: bench/RESULTS.md; and a migration of 5,000 clients
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(BENCH) ## the first three questions of it, in under a minute
	@$(BIN)/python -m bench --quick $(ARGS)

bench-profile: $(BENCH) ## where the gateway's time goes in each question: bench/profiles
	@$(BIN)/python -m bench --profile $(ARGS)

foreign: $(DEV) $(FOREIGN) $(MODULES) ## SSE clients of PyPI and npm through kills and a restart of Redis: docs/clients.md
	@$(BIN)/python -m tests.foreign $(ARGS)

docs: $(DEV) ## write docs/configuration.md from the settings and config.toml
	@$(BIN)/python -m realtime.config.reference

format: $(DEV) ## put the code into shape, and repair what ruff can repair
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

lock: $(BOOTSTRAPPED) ## write requirements/*.txt from pyproject.toml (ARGS=--upgrade takes the newest versions)
	$(COMPILE) --group bootstrap --output-file requirements/bootstrap.txt
	$(COMPILE) pyproject.toml --constraints requirements/bootstrap.txt --output-file requirements/runtime.txt
	$(COMPILE) pyproject.toml --group dev --constraints requirements/bootstrap.txt \
		--constraints requirements/runtime.txt --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --group bench --constraints requirements/bootstrap.txt \
		--constraints requirements/dev.txt --output-file requirements/bench.txt
	$(COMPILE) --group foreign --output-file requirements/foreign.txt

clean: ## remove .venv and every cache (data in .gapless stays)
	rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# All that a server needs, for deploy/gapless.service: who starts it may not write here, so it is compiled now.
runtime: $(RUNTIME)
	@$(BIN)/python -m compileall -q $(VENV)/lib realtime transports policies admin

# What the tests use and PyPI does not have.
system:
	@$(SETUP) system redis-server chromium curl nginx systemd-analyze=systemd php=php-cli ruby gcc=build-essential \
		node=nodejs npm

$(BOOTSTRAPPED): requirements/bootstrap.txt $(SETUP)
	@$(SETUP) venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/bootstrap.txt
	@touch $@

$(RUNTIME): $(BOOTSTRAPPED) requirements/runtime.txt pyproject.toml
	$(INSTALL) --require-hashes --requirement requirements/runtime.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	@touch $@

$(BENCH): $(DEV) requirements/bench.txt
	$(INSTALL) --require-hashes --requirement requirements/bench.txt
	@touch $@

# An environment of its own: two of them need versions that nothing else here does. setuptools comes first, for one of
# them is built here, and no build fetches anything.
$(FOREIGN): $(DEV) requirements/foreign.txt
	$(BIN)/python -m venv --clear --without-pip $(VENV)/foreign
	sed -n '/^setuptools==/,/[^\\]$$/p' requirements/foreign.txt | \
		$(UV) pip install --quiet --python $(VENV)/foreign/bin/python --require-hashes --requirement -
	$(UV) pip install --quiet --python $(VENV)/foreign/bin/python --require-hashes --no-build-isolation \
		--requirement requirements/foreign.txt
	@touch $@

$(MODULES): tests/foreign/package-lock.json | system
	cd tests/foreign && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@
