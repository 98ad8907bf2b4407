# `make repro`: the whole pipeline; `make test`: lint, types, tests; `make test-thorough`: the long tests.
PYTHON ?= python3.11
BIN := .venv/bin
WORKERS ?= 2
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: setup repro test test-thorough readme lock

setup: .venv/.installed

# The stamp makes a second call free: nothing is installed again until the lock changes.
.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

repro: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

test: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not thorough"

# What takes long, and every fuzz test with many more cases.
test-thorough: setup
	$(PYTEST) -m "thorough or hypothesis" --hypothesis-profile thorough

# Put the tables of results/ and of experiments/measured into the pages; tests fail where they differ.
readme: setup
	$(BIN)/python -m experiments.tables
	$(BIN)/python -m mooc_maml.report.readme README.md docs/evidence.md experiments/measured/README.md

# Resolve pyproject.toml anew in an empty environment and pin what came out.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade pip
	.venv-lock/bin/python -m pip install --quiet "setuptools>=77" -e ".[dev,search]"
	{ echo "# Every package of the pipeline and its tests, pinned. Made from pyproject.toml by \`make lock\`."; \
	  .venv-lock/bin/python -m pip freeze --all --exclude-editable | grep -vi '^pip==' | sed 's/+cpu//'; } > requirements.lock
	rm -r .venv-lock
