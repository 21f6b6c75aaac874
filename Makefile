# The environment is in .venv, exactly as requirements.lock says; the targets below make it if needed.
PYTHON ?= python3
BIN := .venv/bin

# dvc starts `python -m stages ...`: the environment's Python, not the caller's.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup repro test test-dvc test-all lint lock peers gpu clean

repro: setup
	started=$$(date +%s) && $(BIN)/dvc repro && $(BIN)/python -m tools outcome --since "$$started"

# Without a repository there is nothing to merge.
setup: .venv/ready
	@! git rev-parse --git-dir > /dev/null 2>&1 || \
		git config --replace-all include.path "$(CURDIR)/tools/merge.gitconfig" '/merge\.gitconfig$$'

# Unit tests, one whole pipeline, one killed training.
test: setup
	$(BIN)/python -m pytest

# The pipeline under DVC: changes, merges, kills.
test-dvc: setup
	$(BIN)/python -m pytest -m 'dvc and not slow'

# All tests, some hours: also the campaigns, an S3 server, a Ray cluster, and, if Debian's packages chromium, qemu-user,
# slurm-wlm and munge are installed, a browser, other processors and a Slurm cluster.
test-all: setup .venv-slow/ready
	$(BIN)/python -m pytest -m ''

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/uv pip check --quiet --python $(BIN)/python
	$(BIN)/shellcheck .ci/* tools/*.sh examples/*.sh
	$(BIN)/zizmor --quiet --offline .github/workflows examples/github-actions.yaml

# Resolve the ranges of pyproject.toml again, to exact versions with hashes for every platform.
lock: setup
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
		--extra dev --no-header --no-emit-index-url --output-file requirements.lock pyproject.toml

# uv gets the path, or it would use an environment that happens to be activated.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	$(BIN)/uv pip sync --python $(BIN)/python --quiet --compile-bytecode requirements.lock
	touch $@

# What only the slow tests need stays out of the main environment.
.venv-slow/ready: tests/slow.txt .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-slow
	$(BIN)/uv pip install --quiet --python .venv-slow --requirement tests/slow.txt
	touch $@

# Lightning, Keras and JAX, for python -m benchmarks training; all other packages in the versions of requirements.lock.
peers: setup
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers
	$(BIN)/uv pip freeze --python $(BIN)/python | \
		$(BIN)/uv pip install --quiet --python .venv-peers --requirement benchmarks/peers.txt --constraint /dev/stdin

# On a machine with a CUDA GPU: steps, trainings and times to an accuracy.
gpu: setup
	$(BIN)/python -m benchmarks gpu

clean:
	rm -rf .venv .venv-slow .venv-peers
