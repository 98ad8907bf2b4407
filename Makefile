# `make repro`: the whole pipeline; `make test`: lint, types, tests; `make test-thorough`: the long tests.
BIN := .venv/bin
# The first that is Python 3.11; or name one: make setup PYTHON=/path/to/python3.11
PYTHON ?= $(shell for name in python3.11 python3 python; do \
  $$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$name && exit; \
  done; echo python3.11)
PIP := $(BIN)/python -m pip install --disable-pip-version-check
unexport PYTHONPATH PYTHONHOME  # of another environment
WORKERS ?= 2
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: setup repro test test-thorough demo readme docs lock

setup: .venv/.installed

# The programs of an environment name its place: those of a moved clone are of no use.
MOVED := $(shell test ! -e .venv/.installed || test -L .venv || \
  grep -qsF "$(CURDIR)/.venv/" $(BIN)/dvc || echo moved)
ifdef MOVED
.PHONY: .venv/.installed
endif

# The stamp makes a second call free: nothing is installed again until the lock changes.
.venv/.installed: requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "setup: '$(PYTHON)' is no Python 3.11 with venv; nothing was installed. Get it with" \
	    "'uv python install 3.11', pyenv or the system's packages python3.11 and python3.11-venv, and" \
	    "run make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@echo "setup: installing the packages of requirements.lock into .venv (some 2 GB to download the" \
	  "first time; minutes)$(if $(MOVED),; from scratch since this folder was moved)"
	@start=$$(date +%s); log=.venv/setup.log; \
	"$(PYTHON)" -m venv $(if $(MOVED),--clear) .venv && \
	if $(PIP) -r requirements.lock >$$log 2>&1 && $(PIP) --no-deps --no-build-isolation -e . >>$$log 2>&1; \
	then touch $@; echo "setup: done in $$(($$(date +%s) - start)) s"; \
	elif grep -qiE "name resolution|connection|timed out|unreachable" $$log; \
	then echo "setup: no network, or none to the package index: connect (HTTPS_PROXY for a proxy," \
	  "PIP_INDEX_URL for a mirror) and run make setup again; details in $$log" >&2; exit 1; \
	else tail -n 5 $$log >&2; echo "setup: pip failed; all it said is in $$log" >&2; exit 1; fi

repro: setup
	@git rev-parse --git-dir >/dev/null 2>&1 || \
	  { echo "repro: no git repository here (or no git), which DVC needs: git clone the project, or run" \
	    "git init here" >&2; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	@cat results/report/answer.md
	@echo "- All models: results/report/table.md"
	@echo "report: $(CURDIR)/results/report/index.html"

test: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not thorough"

# What takes long, and every fuzz test with many more cases.
test-thorough: setup
	$(PYTEST) -m "thorough or hypothesis" --hypothesis-profile thorough

# The page, on the trained models of the pipeline: open the address that it prints; Ctrl-C ends it.
PORT ?= 8000
demo: setup
	@test -e models/bundle/bundle.json || { PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro export; }
	$(BIN)/mooc-maml serve --port $(PORT)

# Put the tables of results/ and of experiments/measured into the pages; tests fail where they differ.
readme: setup
	$(BIN)/python -m experiments.tables
	$(BIN)/python -m mooc_maml.report.readme README.md docs/evidence.md experiments/measured/README.md

# Pages to read offline, in docs/_build/html; a warning is an error.
docs: setup
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

# Resolve pyproject.toml anew in an empty environment and pin what came out.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade pip
	.venv-lock/bin/python -m pip install --quiet "setuptools>=77" -e ".[dev,docs,search,serve]"
	{ echo "# Every package of the pipeline and its tests, pinned. Made from pyproject.toml by \`make lock\`."; \
	  .venv-lock/bin/python -m pip freeze --all --exclude-editable | grep -vi '^pip==' | sed 's/+cpu//'; } > requirements.lock
	rm -r .venv-lock
