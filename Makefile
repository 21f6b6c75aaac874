# One environment in .venv, exactly as requirements.lock says; every target below needs nothing but it.
PYTHON ?= python3
BIN := .venv/bin

# dvc starts `python -m stages ...`: the environment's Python, not the caller's.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup repro test test-all lint lock peers clean

repro: setup
	$(BIN)/dvc repro

setup: .venv/ready

# Quick tests, a quarter of an hour on two cores.
test: setup
	$(BIN)/python -m pytest

# The slow ones too: with an S3 server, and in Chromium where Debian's package is installed.
test-all: setup .venv-slow/ready
	$(BIN)/python -m pytest -m ''

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/* tools/*.sh examples/*.sh
	$(BIN)/zizmor --quiet --offline .github/workflows examples/github-actions.yaml

# Resolve the ranges of pyproject.toml anew into exact versions with hashes, for every platform.
lock: setup
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
		--extra dev --no-header --no-emit-index-url --output-file requirements.lock pyproject.toml

# uv is told where to, or it would take an environment that happens to be activated.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	$(BIN)/uv pip sync --python $(BIN)/python --quiet --compile-bytecode requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	touch $@

# What only the slow tests need is kept out of everybody's environment.
.venv-slow/ready: tests/slow.txt .venv/ready
	$(BIN)/uv venv --quiet --clear .venv-slow
	$(BIN)/uv pip install --quiet --python .venv-slow --requirement tests/slow.txt
	touch $@

# Lightning and Keras, for python -m benchmarks training; torch and all else in the versions of requirements.lock.
peers: setup
	$(BIN)/uv venv --quiet --clear .venv-peers
	$(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable | \
		$(BIN)/uv pip install --quiet --python .venv-peers --requirement benchmarks/peers.txt --constraint /dev/stdin

clean:
	rm -rf .venv .venv-slow .venv-peers
