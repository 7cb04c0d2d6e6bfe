SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check check-lock check-lint check-types check-layers check-openapi check-stages fix openapi stages bench gpu fuzz chaos lock clean

UV_VERSION := 0.13.9
# The lock file's packages on a Python that is already here: uv must not fetch another.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
SYNC := .uv/bin/uv sync --frozen --quiet --python .uv/bin/python --extra api --extra cpu
PY := .venv/bin/python
LINTED := src actors tests benchmarks examples training
# One more process of tests than there are cores, four at most: many tests wait for servers.
TESTERS := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 3 ? cores + 1 : 4)))

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: .venv/.run ## see it work: a drawn clip, understood by the service, compared with what was drawn
	@$(PY) -m examples.demo $(ARGS)

test: .venv/.dev ## the whole test suite (ARGS="-k tracker -x" go to pytest)
	@sh tests/install-servers.sh
	@$(PY) -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: check-lock check-lint check-types check-layers check-openapi check-stages ## all that CI checks besides the tests; changes nothing

check-lock: .venv/.dev
	@.uv/bin/uv lock --check --quiet
check-lint: .venv/.dev
	@$(PY) -m ruff check --quiet $(LINTED)
	@$(PY) -m ruff format --check --quiet $(LINTED)
check-types: .venv/.dev
	@$(PY) -m mypy
check-layers: .venv/.dev
	@.venv/bin/lint-imports --no-cache
check-openapi: .venv/.dev
	@$(PY) -m cvpipe.api.openapi --check

check-stages: .venv/.dev
	@$(PY) -m cvpipe.pipeline.reference --check

fix: .venv/.dev ## what a tool can mend by itself
	@$(PY) -m ruff check --fix $(LINTED); $(PY) -m ruff format $(LINTED)

openapi: .venv/.dev ## write openapi/cvpipe.v1.yaml anew
	@$(PY) -m cvpipe.api.openapi

stages: .venv/.dev ## write docs/stages.md anew
	@$(PY) -m cvpipe.pipeline.reference

bench: .venv/.dev ## frames per second against a hand-written loop (ARGS go to `python -m benchmarks`)
	@$(PY) -m benchmarks $(ARGS)

# ONNX Runtime for GPUs and for CPUs are one folder: an environment of its own, made once (about 3 GB).
gpu: .venv-gpu/.done ## on a machine with an NVIDIA GPU: all that only it can show, in 8 minutes (ARGS go to `python -m benchmarks.gpu`)
	@.venv-gpu/bin/python -m benchmarks.gpu $(ARGS)

.venv-gpu/.done: pyproject.toml uv.lock | .uv/bin/uv
	@echo "installing what the service needs on a GPU, and its tests, into .venv-gpu"
	@UV_PROJECT_ENVIRONMENT=.venv-gpu .uv/bin/uv sync --frozen --quiet --python .uv/bin/python --extra api --extra gpu --group dev
	@touch $@

fuzz: .venv/.dev ## 5,000 broken videos, read as the service reads them (ARGS="--seed 7" go to `python -m tests.fuzz`)
	@$(PY) -m tests.fuzz $(ARGS)

chaos: .venv/.dev ## kill, freeze and cut everything while jobs run, and compare every record (SEED=1 MINUTES=3)
	@sh tests/install-servers.sh
	@$(PY) -m tests.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),3) $(ARGS)

lock: .uv/bin/uv ## newer versions of all dependencies into uv.lock
	@.uv/bin/uv lock --upgrade --python .uv/bin/python

clean: ## remove the environment and caches; your data stay
	@rm -rf .venv .venv-gpu .uv .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist

# --inexact: what the tests need stays where it was installed before.
.venv/.run: pyproject.toml uv.lock | .uv/bin/uv
	@echo "installing what the service needs into .venv"
	@$(SYNC) --group measure --inexact
	@touch $@

.venv/.dev: pyproject.toml uv.lock | .uv/bin/uv
	@echo "installing what the service and its tests need into .venv"
	@$(SYNC) --group dev
	@touch .venv/.run $@

# uv lives beside the environment that it fills, made with the newest suitable Python on PATH (or PYTHON=...).
.uv/bin/uv:
	@venvless=; \
	for candidate in $(PYTHON) $(if $(PYTHON),,python3.14 python3.13 python3.12 python3.11 python3 python); do \
	    $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || continue; \
	    $$candidate -c 'import ensurepip, venv' 2>/dev/null || { venvless=$$candidate; continue; }; \
	    echo "using $$($$candidate -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
	    rm -rf .uv && $$candidate -m venv .uv && \
	    .uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) && exit 0; \
	    rm -rf .uv; exit 1; \
	done; \
	if [ -n "$$venvless" ]; then \
	    echo "$$venvless has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv)" >&2; \
	else \
	    echo "cvpipe needs Python 3.11 to 3.14; none is on PATH (name one with: make PYTHON=/path/to/python3)" >&2; \
	fi; exit 1
