# Every command of the project, each in the virtual environment .venv, which is made when it is first needed.

PYTHON ?= python3
ARGS ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --constraint constraints.txt --editable
STAMP := $(VENV)/installed

.PHONY: help benchmark test faults lint format peers lock clean

help: ## list these commands
	@echo 'make COMMAND [ARGS="more flags"] [PYTHON=python3]'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

benchmark: $(STAMP) ## the main job: RNN and LSTM on one task, with a table and report.html
	@$(VENV)/bin/python -m experiments.benchmark $(ARGS)

test: $(STAMP) ## the test suite, without the slow tests of make faults
	@$(VENV)/bin/python -m pytest $(ARGS)

faults: $(STAMP) ## every test of faults and of processes (kills, full disks, hostile data), and docs/reliability.md
	@$(VENV)/bin/python -m pytest tests/faults tests/scale --all-faults --record-faults=results/reliability.json $(ARGS)
	@$(VENV)/bin/python -m experiments.reliability

lint: $(STAMP) ## style and common mistakes, changing nothing
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

format: $(STAMP) ## put the style right
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

peers: $(STAMP) ## install PyTorch too, so that the parity tests with it run
	@echo "installing PyTorch into $(VENV) ..."
	@$(INSTALL) '.[peers]'

lock: $(VENV)/bin/uv ## constraints.txt anew from setup.cfg, keeping its versions (ARGS=--upgrade: the newest)
	@$(VENV)/bin/uv pip compile setup.cfg --all-extras --universal --python-version 3.11 --no-annotate \
		--custom-compile-command 'make lock' --output-file constraints.txt --quiet $(ARGS)

clean: ## remove .venv and what the tools leave behind; runs/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else \
		"$(PYTHON) is Python " + v + ", but 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...")'
	@echo "installing into $(VENV) (1 to 2 minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) '.[dev]'
	@touch $@

$(VENV)/bin/uv:
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install uv
