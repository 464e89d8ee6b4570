# Two commands matter: `make demo` and `make test`. Each installs what it needs; `make help` lists the parts.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
DEMO_ARGS ?=
MINUTES ?= 10

PYTHON := .venv/bin/python
BROWSER := browser_peer
PAGE := mesh/_assets/page/index.html
NODES := mesh/_assets/nodes/basics.wasm

.PHONY: help demo test wheel lint format test-rust test-browser-unit test-python simulation mutation faults nat bench lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(PAGE) ## set everything up and run the demo (DEMO_ARGS=--once: run the pipelines and exit)
	exec .venv/bin/mesh demo $(DEMO_ARGS)

test: lint test-rust test-browser-unit test-python ## everything: linters, types, unit tests, real processes, real Chromium

lint: $(PAGE) ## ruff, mypy, tsc, biome, rustfmt, clippy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	cd $(BROWSER) && npx tsc -p . && npx biome check src
	cd rust_nodes && cargo fmt --check && cargo clippy --quiet --all-targets -- -D warnings

test-rust: ## the wasm nodes, natively
	cd rust_nodes && cargo test --quiet

test-browser-unit: $(PAGE) ## the TypeScript, with the shared vectors
	cd $(BROWSER) && npx vitest run

test-python: $(PAGE) .chromium .nat-tools ## unit tests, vectors, simulations, real processes, real Chromium
	.venv/bin/pytest

simulation: .venv/.ready ## whole meshes under faults and a virtual clock, with new seeds (MINUTES=10; docs/testing.md)
	.venv/bin/python tests/sim/run.py --minutes $(MINUTES)

mutation: .venv/.ready ## what the promises rest on is taken out of copies, piece by piece: the simulation must notice
	.venv/bin/python tests/sim/mutations.py

faults: $(PAGE) .chromium ## real meshes that lose workers, tabs, links and their signaling server; an hour, as root
	deploy/as-root.sh .venv/bin/python -m pytest tests/faults tests/mesh_processes tests/browser/test_browser_losses.py -m ''

bench: $(PAGE) ## what an item costs, and how long a killed worker or a broken connection is felt, beside other systems
	.venv/bin/python bench/items.py
	.venv/bin/python bench/recovery.py
	.venv/bin/python bench/rebuild.py

nat: $(PAGE) .chromium .nat-tools ## links and streams behind NATs, every pair and ten times; four minutes, as root
	deploy/as-root.sh .venv/bin/python -m pytest tests/nat -m '' -s

wheel: $(PAGE) ## dist/*.whl with the page and the wasm modules inside
	.venv/bin/uv build --quiet --wheel --out-dir dist

format: .venv/.ready $(BROWSER)/node_modules/.ready ## rewrite the sources in the house style
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
	cd $(BROWSER) && npx biome check --write src
	cd rust_nodes && cargo fmt

lock: .venv/.ready ## renew the Python lock file from pyproject.toml
	.venv/bin/uv lock --quiet --upgrade
	.venv/bin/uv export --quiet --all-extras --all-groups --no-emit-project --no-header -o requirements.lock

clean: ## remove everything that was built
	rm -rf .venv dist mesh/_assets $(BROWSER)/node_modules rust_nodes/target

.venv/.ready: pyproject.toml requirements.lock deploy/setup-python.sh
	deploy/setup-python.sh
	@touch $@

$(BROWSER)/node_modules/.ready: $(BROWSER)/package-lock.json
	@echo "Installing the npm packages" >&2
	cd $(BROWSER) && npm ci --silent --no-audit --no-fund
	@touch $@

$(NODES): .venv/.ready $(shell find rust_nodes -name target -prune -o \( -name '*.rs' -o -name '*.toml' -o -name '*.wit' -o -name 'Cargo.lock' -o -name build.py \) -print 2>/dev/null)
	@echo "Building the wasm nodes" >&2
	$(PYTHON) rust_nodes/build.py
	@touch $@

$(PAGE): $(NODES) $(BROWSER)/node_modules/.ready $(shell find $(BROWSER) -name node_modules -prune -o -type f -print 2>/dev/null) $(shell find mesh/nodes examples -name '*.py' -o -name '*.yaml' 2>/dev/null)
	@echo "Building the page" >&2
	cd $(BROWSER) && npx vite build --logLevel warn
	@touch $@

.PHONY: .chromium
.chromium:
	@command -v chromium >/dev/null || { echo "Installing Chromium for the tests" >&2; deploy/as-root.sh apt-get update -qq; deploy/as-root.sh apt-get install -y -qq chromium; }

.PHONY: .nat-tools
.nat-tools:
	@deploy/nat-tools.sh
