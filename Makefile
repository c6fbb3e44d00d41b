# One-word targets; `make demo` and `make test` work on a fresh machine with Python 3.11 and make.
# Stamps in .make/ remember what is done, so that a second call is instant.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
# python3.11 by name, or python3 when that is 3.11
PYTHON := $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && command -v $$p && break; done)
# The platform starts many processes, and each would compile what it imports from the source again.
unexport PYTHONDONTWRITEBYTECODE
# Node 20 or newer of this machine, else the one the lock installs into the environment
NODE_BIN = $(shell if node -e 'process.exit(+process.versions.node.split(".")[0] < 20)' 2>/dev/null && command -v npm >/dev/null; \
	then dirname "$$(command -v node)"; else echo "$(CURDIR)/$(BIN)"; fi)
QUIET_ENV := HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false DO_NOT_TRACK=1
PYTEST := $(QUIET_ENV) $(BIN)/python -m pytest
CONSOLE_SOURCES := $(shell find ui_extensions -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

.PHONY: help demo up down test fast slow journeys check types-python lint check-console bench types console lock install clean

help:
	@echo "make demo    the whole way from raw data to a chat"
	@echo "make up      start the platform and keep it running (make down stops it)"
	@echo "make test    all tests, the fast ones first"
	@echo "make check   formatting, lint, types, import rule"
	@echo "make bench   the figures the README quotes"
	@echo "make types   openapi.json and the console's types from it"
	@echo "make console build the console"
	@echo "make lock    solve the dependencies again and pin them by hash"

# -- what people type ----------------------------------------------------------------------------------------------

demo: install console
	$(BIN)/llmops demo

up: install console
	$(BIN)/llmops up

down: install
	$(BIN)/llmops down

# the fast ones first, so that a mistake shows within minutes
test: fast slow journeys

# More workers than two cores, as they wait a lot, each with a database server of its own; a file's tests stay together,
# as they share its fixtures.
PARALLEL := -n 3 --dist loadfile

fast: install
	@echo "== tests, 1 of 3: the fast ones"
	$(PYTEST) $(PARALLEL) -m "not slow and not browser and not journey"

# browsers that need no platform around the API are among them
slow: install console $(STAMPS)/chromium $(STAMPS)/serving-typescript
	@echo "== tests, 2 of 3: the slow ones"
	$(PYTEST) $(PARALLEL) -m "(slow or browser) and not journey"

# by name, since looking for them among all tests loads everything first
JOURNEYS = $(shell grep -rl --include='test_*.py' 'mark\.journey' tests)

# one after another, since each has a platform that wants both cores when it starts
journeys: install console $(STAMPS)/chromium
	@echo "== tests, 3 of 3: the journeys through the whole platform"
	$(PYTEST) --durations=10 -m journey $(JOURNEYS)

# side by side, and each one's output in one piece
check: install $(STAMPS)/node_modules
	@$(MAKE) --no-print-directory -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		types-python check-console lint

types-python:
	$(BIN)/mypy
	MYPYPATH=examples $(BIN)/mypy --explicit-package-bases examples/serving_workflow.py

lint:
	$(BIN)/ruff check .
	$(BIN)/lint-imports

check-console:
	if [ -f ui_extensions/package.json ]; then \
		cd ui_extensions && export PATH="$(NODE_BIN):$$PATH" && npm run check && npm test; fi

bench: install $(STAMPS)/bench $(STAMPS)/bench-gateways $(STAMPS)/bench-evaluation
	for figure in benchmarks/*.py; do echo "== $$figure"; $(QUIET_ENV) $(BIN)/python -m "benchmarks.$$(basename "$$figure" .py)"; done

types: install $(STAMPS)/node_modules
	$(BIN)/python -m serving_api.openapi
	$(if $(wildcard ui_extensions/package.json),cd ui_extensions && PATH="$(NODE_BIN):$$PATH" npm run types)

console: $(STAMPS)/console

# -- the environment -------------------------------------------------------------------------------------------------

install: $(STAMPS)/installed

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: install it so that python3.11 is on the PATH."; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	mkdir -p $(STAMPS) && touch $@

# Nothing is compiled ahead: most of what is installed is never imported.
# Alone and first: its CPU build is large, and pip's own configuration decides where it comes from.
$(STAMPS)/torch: locks/torch.txt | $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r locks/torch.txt
	touch $@

$(STAMPS)/locked: locks/dev.txt $(STAMPS)/torch
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r locks/dev.txt
	touch $@

$(STAMPS)/installed: pyproject.toml $(STAMPS)/locked
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# What we are measured against lives in an environment of its own, since some of it wants older libraries.
$(STAMPS)/bench: locks/bench.txt | $(STAMPS)/venv
	test -x .venv-bench/bin/python || "$(PYTHON)" -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r locks/bench.txt
	touch $@

# The gateways of others want other libraries again, and one is a Node package.
$(STAMPS)/bench-gateways: locks/bench-gateways.txt benchmarks/portkey/package-lock.json | $(STAMPS)/venv
	test -x .venv-bench-gateways/bin/python || "$(PYTHON)" -m venv .venv-bench-gateways
	.venv-bench-gateways/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r locks/bench-gateways.txt
	cd benchmarks/portkey && PATH="$(NODE_BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# lm-evaluation-harness brings the datasets library; its torch, transformers and tokenizers are ours.
$(STAMPS)/bench-evaluation: locks/bench-evaluation.txt locks/torch.txt | $(STAMPS)/venv
	test -x .venv-bench-evaluation/bin/python || "$(PYTHON)" -m venv .venv-bench-evaluation
	for lock in torch bench-evaluation; do \
		.venv-bench-evaluation/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r locks/$$lock.txt; done
	touch $@

lock: install
	$(BIN)/pip-compile $(LOCK_OPTIONS) -o locks/api.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK_OPTIONS) --extra train --extra dev -c locks/api.txt -o locks/dev.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK_OPTIONS) --extra train -c locks/dev.txt -o locks/train.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK_OPTIONS) -o locks/bench.txt locks/bench.in
	$(BIN)/pip-compile $(LOCK_OPTIONS) -o locks/bench-gateways.txt locks/bench-gateways.in
	$(BIN)/pip-compile $(LOCK_OPTIONS) -o locks/bench-evaluation.txt locks/bench-evaluation.in

# torch is pinned in locks/torch.txt, by hand; no line may name where packages came from
LOCK_OPTIONS := --quiet --no-header --generate-hashes --strip-extras --resolver backtracking --unsafe-package torch \
	--no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# -- the console -----------------------------------------------------------------------------------------------------

$(STAMPS)/node_modules: $(wildcard ui_extensions/package-lock.json) | $(STAMPS)/installed
	if [ -f ui_extensions/package.json ]; then \
		cd ui_extensions && PATH="$(NODE_BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error; fi
	touch $@

# OpenAI's own client for Node, which tests drive the platform with.
$(STAMPS)/serving-typescript: tests/serving/typescript/package-lock.json | $(STAMPS)/installed
	cd tests/serving/typescript && PATH="$(NODE_BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(STAMPS)/console: $(CONSOLE_SOURCES) $(STAMPS)/node_modules
	if [ -f ui_extensions/package.json ]; then cd ui_extensions && PATH="$(NODE_BIN):$$PATH" npm run build; fi
	touch $@

# The browser tests drive the system's Chromium.
$(STAMPS)/chromium: | $(STAMPS)/venv
	if ! command -v chromium chromium-browser google-chrome >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
		else \
			echo "The browser tests need Chromium: install it (Debian: apt-get install chromium), then call make again."; \
			exit 1; \
		fi; fi
	touch $@

clean:
	rm -rf $(STAMPS) .pytest_cache .mypy_cache .ruff_cache ui_extensions/dist
